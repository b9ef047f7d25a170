from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentkit import (
    Agent,
    AnswerInvalid,
    AssistantMessage,
    ChatClient,
    ConfigurationError,
    ModelRetry,
    Settings,
    TextDelta,
    ToolChoiceIgnored,
    ToolMessage,
    UserMessage,
    tool,
)
from agentkit.runs.output import answering
from agentkit.testing import answer, calling, chaos
from agentkit.tool_choice import auto, budget, force, none, only, required
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


class Trip(BaseModel):
    """A trip."""

    city: str
    days: int = Field(ge=1)


ROME = {"city": "Rome", "days": 2}


@tool
def look_up(city: str) -> str:
    """Look a city up."""
    return f"{city} is large"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_typed_answer_beside_tools_over_a_socket(streamed: bool) -> None:
    with chaos(calling(("look_up", {"city": "Rome"})), calling(("final_answer", ROME))) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[look_up], output=Trip)
        if streamed:
            async with agent.stream("A weekend in Rome.") as run:
                assert not [event async for event in run if isinstance(event, TextDelta)]
            result = run.result
        else:
            result = await agent.run("A weekend in Rome.")
        assert result.output == Trip(city="Rome", days=2)
        assert (result.stop, len(result.steps)) == ("answer", 2)
        first = endpoint.requests[0]
        assert [each["function"]["name"] for each in first["tools"]] == ["look_up", "final_answer"]
        assert first["tool_choice"] == "required"
        assert "response_format" not in first


async def test_an_answer_that_does_not_fit_is_told_and_tried_again() -> None:
    model = Scripted(called(("final_answer", {"city": "Rome", "days": 0})), called(("final_answer", ROME)))
    result = await Agent(model, output=Trip).run("Plan.")
    assert result.output == Trip(city="Rome", days=2)
    told = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert "days" in told[0]
    assert "greater than or equal to 1" in told[0]


@pytest.mark.parametrize("corrections", [0, 1, 2])
async def test_it_is_tried_a_bounded_number_of_times(corrections: int) -> None:
    model = Scripted(called(("final_answer", {"city": "Rome"})))
    with pytest.raises(AnswerInvalid, match=f"was invalid {corrections + 1} times in a row") as caught:
        await Agent(model, output=Trip, max_corrections=corrections).run("Plan.")
    assert len(model.requests) == corrections + 1
    assert caught.value.text == '{"city": "Rome"}'
    assert caught.value.partial is not None
    assert isinstance(caught.value.partial.messages[-1], ToolMessage)


async def test_checks_ask_for_another_try() -> None:
    def short(trip: Trip) -> None:
        if trip.days > 3:
            raise ModelRetry("At most three days.")

    model = Scripted(called(("final_answer", {"city": "Rome", "days": 9})), called(("final_answer", ROME)))
    result = await Agent(model, output=Trip, output_validators=[short]).run("Plan.")
    assert result.output.days == 2
    assert next(m.content for m in result.messages if isinstance(m, ToolMessage)) == "At most three days."


async def test_a_text_is_no_answer() -> None:
    model = Scripted(said("Rome!"), called(("final_answer", ROME)))
    result = await Agent(model, output=Trip).run("Plan.")
    assert result.output == Trip(city="Rome", days=2)
    assert result.violations == 1
    with pytest.raises(ToolChoiceIgnored):
        await Agent(Scripted(said("Rome!")), output=Trip).run("Plan.")


async def test_a_run_that_was_at_its_end_gives_the_same_answer() -> None:
    agent = Agent(Scripted(called(("final_answer", ROME))), output=Trip)
    messages = (await agent.run("Plan.")).messages
    again = await agent.run(messages)
    assert again.output == Trip(city="Rome", days=2)
    assert again.steps == ()


async def test_a_policy_holds_beside_it() -> None:
    model = Scripted(called(("look_up", {"city": "a"})), called(("final_answer", ROME)))
    agent = Agent(model, tools=[look_up], output=Trip, tool_choice=budget(1))
    assert (await agent.run("Plan.")).output == Trip(city="Rome", days=2)
    assert [str(request.tool_choice) for request in model.requests] == ["required", "final_answer"]


def test_what_the_policy_becomes() -> None:
    state: Any = type("State", (), {"calls": ()})()
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


async def test_an_answer_in_the_format_of_the_endpoint() -> None:
    with chaos(answer('{"city":"Rome","days":0}'), answer('{"city":"Rome","days":2}')) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[look_up], output=Trip, output_mode="format")
        result = await agent.run("Plan.")
        assert result.output == Trip(city="Rome", days=2)
        assert [each["response_format"]["type"] for each in endpoint.requests] == ["json_schema"] * 2
        assert "days" in endpoint.requests[1]["messages"][-1]["content"]
        assert [each["function"]["name"] for each in endpoint.requests[0]["tools"]] == ["look_up"]


async def test_a_format_that_never_fits() -> None:
    with pytest.raises(AnswerInvalid, match="does not fit the type that is wanted, 3 times in a row") as caught:
        await Agent(Scripted(said("Rome!")), output=Trip, output_mode="format").run("Plan.")
    assert caught.value.text == "Rome!"
    assert caught.value.partial is not None


async def test_tools_are_called_before_an_answer_in_the_format() -> None:
    model = Scripted(called(("look_up", {"city": "a"})), said('{"answer":"b"}'))
    kind: Any = Literal["a", "b"]
    result = await Agent(model, tools=[look_up], output=kind, output_mode="format").run("Choose.")
    assert result.output == "b"


async def test_a_refusal_is_no_typed_answer() -> None:
    with pytest.raises(AnswerInvalid, match="without a valid answer"):
        await Agent(Scripted(AssistantMessage(refusal="I would rather not.")), output=Trip, output_mode="format").run(
            "x"
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stop_at": look_up}, "look_up cannot end it beside output"),
        ({"output_mode": "text"}, "output_mode"),
        ({"output": object()}, "JSON Schema"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"output": Trip, **options}
    with pytest.raises(ConfigurationError, match=message):
        Agent("m", tools=[look_up], **given)


async def test_a_number() -> None:
    model = Scripted(called(("final_answer", {"answer": "42"})))
    result = await Agent(model, output=int, settings=Settings(temperature=0)).run([UserMessage("How many?")])
    assert result.output == 42
