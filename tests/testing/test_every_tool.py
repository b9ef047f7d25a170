import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import pytest
from pydantic import Field

from agentkit import Agent, ChatRequest, State, UserMessage
from agentkit.core.chat import ToolSpec
from agentkit.core.choice import ToolChoice
from agentkit.testing import EveryTool, assert_that, calls_of
from agentkit.tool_choice import before_answer, first, force, sequence

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@dataclass
class Guest:
    name: str
    born: date


Nights = Annotated[int, Field(gt=0, le=14)]


async def book(room: Literal["single", "double"], nights: Nights, guests: list[Guest]) -> str:
    """Book a room."""
    return f"{room} for {guests[0].name} for {nights} nights"


def cancel(number: Annotated[str, Field(pattern="^B[0-9]{4}$", examples=["B1234"])]) -> str:
    """Cancel a booking."""
    return f"cancelled {number}"


def fail() -> str:
    raise ValueError("no")


async def test_every_tool_is_called_once_and_then_it_answers() -> None:
    model = EveryTool("All done.")
    result = await Agent(model, tools=[book, cancel, fail]).run("Try everything.")
    assert result.output == "All done."
    calls = [(call.tool, call.outcome) for call in calls_of(result)]
    assert calls == [("book", "ok"), ("cancel", "ok"), ("fail", "error")]
    assert_that(result).obeyed()
    assert len(model.requests) == 4
    again = await Agent(model, tools=[cancel]).run([*result.messages, UserMessage("Again.")])
    assert_that(again).called(cancel, times=1, outcome="ok")


async def test_arguments_of_a_tool_can_be_given() -> None:
    model = EveryTool(arguments={"book": {"guests": [{"name": "Ann", "born": "1990-01-02"}]}})
    async with Agent(model, tools=[book]).stream("Try.") as run:
        async for _ in run:
            pass
    (call,) = calls_of(run.result)
    assert (call.answer, call.outcome) == ("single for Ann for 1 nights", "ok")


async def test_it_obeys_the_tool_choice() -> None:
    tools: list[Callable[..., object]] = [book, cancel]
    nothing = await Agent(EveryTool(), tools=tools, tool_choice="none").run("Try.")
    assert_that(nothing).never(book).never(cancel).obeyed()
    ordered = await Agent(EveryTool(), tools=tools, tool_choice=sequence(cancel, book)).run("Try.")
    assert_that(ordered).obeyed().called(cancel).before(book)
    forced = await Agent(EveryTool(), tools=tools, tool_choice=first(force(cancel), then="none")).run("Try.")
    assert_that(forced).obeyed().never(book).called(cancel, times=1)
    asked = await Agent(EveryTool(), tools=tools, tool_choice=before_answer(cancel)).run("Try.")
    assert_that(asked).obeyed().called(cancel)

    def twice(state: State) -> str:
        return "required" if state.step < 3 else "auto"

    again = await Agent(EveryTool(), tools=tools, tool_choice=twice).run("Try.")
    assert_that(again).obeyed().called(book, times=2).called(cancel, times=1)


async def test_a_typed_answer_is_made_from_its_type_or_schema_and_no_tool_is_called_that_is_not_there() -> None:
    result = await Agent(EveryTool(), tools=[cancel], output=Guest).run("Who?")
    assert result.output == Guest("text", date(2026, 12, 1))
    assert_that(result).obeyed().called(cancel).before("final_answer")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    reply = await EveryTool().complete(ChatRequest((UserMessage("Hello"),), response_format=wanted))
    assert json.loads(reply.message.content or "") == {"a": 3}
    reply = await EveryTool().complete(ChatRequest((UserMessage("Hello"),), response_format={"type": "json_object"}))
    assert reply.message.content == "done"
    request = ChatRequest((UserMessage("Hello"),), (ToolSpec("a", "", {}),), ToolChoice("tool", "b"))
    assert (await EveryTool().complete(request)).message.content == "done"
    assert repr(EveryTool()) == "EveryTool('done')"
