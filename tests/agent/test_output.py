"""Runs with a structured output."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentkit import Agent, AnswerInvalid, ChatClient, ConfigurationError, Memory, ModelRetry, ToolChoiceIgnored, tool
from agentkit.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from agentkit.core.state import State
from agentkit.runs.output import answering
from agentkit.testing import answer, calling, chaos
from agentkit.tool_choice import auto, budget, force, none, only, required
from tests.agent import tool_messages
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


class Trip(BaseModel):
    """A trip."""

    city: str
    days: int = Field(ge=1)


ROME: dict[str, Any] = {"city": "Rome", "days": 2}
ROME_TEXT, NO_DAYS_TEXT = '{"city":"Rome","days":2}', '{"city":"Rome","days":0}'
FINAL, LOOK_UP = called(("final_answer", ROME)), called(("look_up", {"city": "Rome"}))
FORMAT = {"output_mode": "format"}


@tool
def look_up(city: str) -> str:
    """Look a city up."""
    return f"{city} is large"


DEFAULTS: dict[str, Any] = {"tools": [look_up], "output": Trip}


def short(trip: Trip) -> None:
    if trip.days > 3:
        raise ModelRetry("At most three days.")


def final(**changes: Any) -> AssistantMessage:
    return called(("final_answer", {**ROME, **changes}))


async def test_a_final_answer_tool_over_a_socket() -> None:
    with chaos(calling(("look_up", {"city": "Rome"})), calling(("final_answer", ROME))) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[look_up], output=Trip)
        result = await agent.run("A weekend in Rome.")
    assert (result.output, result.stop, len(result.steps)) == (Trip(**ROME), "answer", 2)
    request = endpoint.requests[0]
    assert [spec["function"]["name"] for spec in request["tools"]] == ["look_up", "final_answer"]
    assert request["tool_choice"] == "required"
    assert "response_format" not in request


async def test_the_format_of_the_endpoint() -> None:
    with chaos(answer(NO_DAYS_TEXT), answer(ROME_TEXT)) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[look_up], output=Trip, output_mode="format")
        assert (await agent.run("Plan.")).output == Trip(**ROME)
    assert [request["response_format"]["type"] for request in endpoint.requests] == ["json_schema"] * 2
    assert "days" in endpoint.requests[1]["messages"][-1]["content"]
    assert [spec["function"]["name"] for spec in endpoint.requests[0]["tools"]] == ["look_up"]


@pytest.mark.parametrize(
    ("options", "plays", "output", "results"),
    [
        ({}, [final(days=0), FINAL], Trip(**ROME), ["greater than or equal to 1", "Rome"]),
        ({"output_validators": [short]}, [final(days=9), FINAL], Trip(**ROME), ["At most three days.", "Rome"]),
        ({}, [said("Rome!"), FINAL], Trip(**ROME), ["Rome"]),
        ({"output": int}, [called(("final_answer", {"answer": "42"}))], 42, [""]),
        ({**FORMAT, "output": Literal["a", "b"]}, [LOOK_UP, said('{"answer":"b"}')], "b", ["Rome is large"]),
        ({"tool_choice": budget(1)}, [LOOK_UP, FINAL], Trip(**ROME), ["Rome is large", "Rome"]),
    ],
)
async def test_the_output(options: dict[str, Any], plays: list[Any], output: object, results: list[str]) -> None:
    model = Scripted(*plays)
    agent: Agent[Any, Any] = Agent(model, **(DEFAULTS | options))
    result = await agent.run("Plan.")
    assert (result.output, result.violations) == (output, sum(isinstance(play.content, str) for play in plays[:-1]))
    for message, key_word in zip(tool_messages(result.messages), results, strict=True):
        assert key_word in message.content
    if "tool_choice" in options:
        assert [str(request.tool_choice) for request in model.requests] == ["required", "final_answer"]
    # A finished history has the same output, and needs no request.
    again = await agent.run(result.messages)
    assert (again.output, again.steps) == (output, ())


@pytest.mark.parametrize(
    ("options", "play", "error", "text"),
    [
        ({}, called(("final_answer", {"city": "Rome"})), AnswerInvalid, '{"city": "Rome"}'),
        (FORMAT, said("Rome!"), AnswerInvalid, "Rome!"),
        ({}, said("Rome!"), ToolChoiceIgnored, ""),
    ],
)
@pytest.mark.parametrize("corrections", [0, 2])
async def test_a_wrong_answer_is_corrected_a_bounded_number_of_times(
    options: dict[str, Any], play: AssistantMessage, error: Any, text: str, corrections: int
) -> None:
    model = Scripted(play)
    with pytest.raises(error) as caught:
        await Agent(model, output=Trip, max_corrections=corrections, **options).run("Plan.")
    assert len(model.requests) == corrections + 1
    assert caught.value.partial is not None
    assert caught.value.text == text
    assert isinstance(caught.value.partial.messages[-1], ToolMessage) is bool(play.tool_calls)


async def test_a_refusal_is_no_structured_output() -> None:
    with pytest.raises(AnswerInvalid):
        await Agent(Scripted(AssistantMessage(refusal="No.")), output=Trip, output_mode="format").run("Plan.")


def test_what_the_policy_becomes() -> None:
    state = State(())
    chosen = {
        repr(policy): str(answering(policy, "final_answer", 2)(state))
        for policy in (auto, none, required, force("look_up"), only("look_up"))
    }
    assert chosen == {
        "auto": "required",
        "none": "final_answer",
        "required": "required",
        "force('look_up')": "look_up",
        "only('look_up')": "required of final_answer, look_up",
    }
    assert answering(auto, "final_answer", 2).tools == {"final_answer"}
    assert not answering(none, "final_answer", 2).silences
    assert repr(answering(auto, "final_answer", 2)) == "answering(auto, 'final_answer')"


@pytest.mark.parametrize(
    ("options", "key_word"),
    [
        ({"stop_at": look_up}, "look_up"),
        ({"output_mode": "text"}, "output_mode"),
        ({"output": object()}, "JSON Schema"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], key_word: str) -> None:
    with pytest.raises(ConfigurationError, match=key_word):
        Agent(Scripted(), **(DEFAULTS | options))


async def test_a_text_is_validated_without_a_final_answer_tool() -> None:
    async def brief(text: str) -> None:
        if len(text) > 5:
            raise ModelRetry("At most five letters.")

    model = Scripted(said("Much too long."), LOOK_UP, said("Also too long."), said("Rome."))
    result = await Agent(model, tools=[look_up], output_validators=[brief, str]).run("Where?")
    assert (result.output, result.violations) == ("Rome.", 2)
    assert all([tool.name for tool in request.tools] == ["look_up"] for request in model.requests)
    assert [m.content for m in result.messages if isinstance(m, UserMessage) and m.note] == [
        "At most five letters.\n\nAnswer again."
    ] * 2
    with pytest.raises(AnswerInvalid):
        await Agent(Scripted(said("Much too long.")), output_validators=[brief]).run("Where?")


async def test_an_input_guardrail_ends_a_run_before_it_begins() -> None:
    class Refused(Exception):
        pass

    async def no_secrets(messages: tuple[Message, ...]) -> None:
        if any("secret" in str(message.content) for message in messages):
            raise Refused

    seen: list[int] = []
    model, session = Scripted(said("Fine.")), Memory()
    agent = Agent(model, input_guardrails=[lambda messages: seen.append(len(messages)), no_secrets])
    with pytest.raises(Refused):
        await agent.run("A secret.", session=session)
    assert (model.requests, (await session.load()).messages) == ([], ())
    assert (await agent.run("Hi", session=session)).output == "Fine."
    assert (await agent.run([*(await session.load()).messages, UserMessage("And?")])).output == "Fine."
    assert seen == [1, 1, 3]


async def test_a_validator_may_use_pydantic() -> None:
    model = Scripted(said("no JSON"), said(ROME_TEXT))
    result = await Agent(model, output_validators=[Trip.model_validate_json]).run("Where?")
    assert (result.output, result.violations) == (ROME_TEXT, 1)
