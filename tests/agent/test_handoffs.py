"""Handing a conversation over from one agent to another."""

from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    ChatRequest,
    ConfigurationError,
    Event,
    Limits,
    Nested,
    RunFinished,
    RunStarted,
    Settings,
    SystemMessage,
    ToolDefinitionError,
    ToolFinished,
    ToolMessage,
    Usage,
    UserMessage,
    handoff,
)
from tests.endpoint import fault_in
from tests.scripted import Play, Scripted, called, said

pytestmark = pytest.mark.anyio

OVER = called(("transfer_to_spanish", {}))


def add(a: int, b: int) -> int:
    return a + b


def spanish(*plays: Play, **options: Any) -> Agent[Any, Any]:
    model = Scripted(*(plays or (said("Hola."),)))
    given: dict[str, Any] = {"name": "spanish", "instructions": "Answer in Spanish.", **options}
    return Agent(model, **given)


def triage(other: Agent[Any, Any], *plays: Play, **options: Any) -> Agent[Any, Any]:
    return Agent(
        Scripted(*(plays or (OVER,))), tools=[handoff(other), add], instructions="Find who answers.", **options
    )


def test_what_the_model_is_told_of_it() -> None:
    spec = handoff(spanish()).spec
    assert spec.name == "transfer_to_spanish"
    assert spec.description == "Hand the conversation over to another agent, who answers the user."
    assert spec.parameters == {"type": "object", "properties": {}, "additionalProperties": False}
    own = handoff(spanish(), "to_spanish", "For whoever writes Spanish.").spec
    assert (own.name, own.description) == ("to_spanish", "For whoever writes Spanish.")


async def test_the_other_agent_answers_and_ends_the_run() -> None:
    model = Scripted(said("Hola."))
    other = Agent(model, name="spanish", instructions="Answer in Spanish.")
    first = Scripted(called(("add", {"a": 1, "b": 1})), OVER)
    agent = Agent(first, tools=[handoff(other), add], instructions="Find who answers.")
    result = await agent.run("¿Qué tal?")
    assert (result.output, result.stop) == ("Hola.", "tool")
    assert len(first.requests) == 2
    assert result.usage == Usage(3, 30, 15)
    # It sees what was said and done, with its own instructions, and no call that is open.
    assert model.requests[0].messages == (SystemMessage("Answer in Spanish."), *result.messages[1:-2])
    assert result.messages[-1] == ToolMessage("c0", "Hola.")
    assert "Ended with a tool's result" in result.explain()


async def test_the_conversation_goes_on() -> None:
    agent = triage(spanish(), OVER, said("Bye."))
    result = await agent.run("¿Qué tal?")
    again = await agent.run([*result.messages, UserMessage("Adiós.")])
    assert again.output == "Bye."
    assert fault_in([message.to_dict() for message in again.messages]) is None


async def test_a_result_is_not_shortened_for_whoever_asked() -> None:
    agent = triage(spanish(said("Hola. " * 1000)), limits=Limits(result=1000))
    assert (await agent.run("go")).output == "Hola. " * 1000


async def test_its_events_come_nested() -> None:
    events: list[Event] = []
    await triage(spanish(), observers=[events.append]).run("go")
    inner = [event.event for event in events if isinstance(event, Nested)]
    assert inner[0] == RunStarted("spanish", "scripted", events[0].run_id)
    assert inner[-1] == RunFinished("answer", Usage(1, 10, 5))
    assert events[-1] == RunFinished("tool", Usage(2, 20, 10))


async def test_a_failure_leaves_the_first_agent_to_answer() -> None:
    result = await triage(spanish(RuntimeError("no")), OVER, said("Sorry.")).run("go")
    assert (result.output, result.stop) == ("Sorry.", "answer")
    assert [message.content for message in result.messages if isinstance(message, ToolMessage)] == ["RuntimeError: no"]


def to_the_other(request: ChatRequest) -> Any:
    """Hands over as often as it can."""
    names = [tool.name for tool in request.tools]
    failed = isinstance(request.messages[-1], ToolMessage)
    return said("I do it.") if failed else called((names[0], {}))


def mutual() -> tuple[Agent[Any, Any], Scripted, Scripted]:
    one, other = Scripted(to_the_other), Scripted(to_the_other)
    agents: dict[str, Agent[Any, Any]] = {}
    agents["a"] = Agent(one, tools=[handoff(lambda: agents["b"], "to_b")], instructions="I am a.")
    agents["b"] = Agent(other, tools=[handoff(lambda: agents["a"], "to_a", "Back.")], instructions="I am b.")
    return agents["a"], one, other


async def test_two_that_hand_over_to_each_other_come_to_an_end() -> None:
    agent, one, other = mutual()
    events: list[Event] = []
    async with agent.stream("go") as run:
        events += [event async for event in run]
    assert (run.result.output, run.result.stop) == ("I do it.", "tool")
    assert len(one.requests) + len(other.requests) == 5 + 1 + 1
    assert all(request.messages[:2] == (SystemMessage("I am b."), UserMessage("go")) for request in other.requests)
    refused = other.requests[-1].messages[-1]
    assert isinstance(refused, ToolMessage)
    assert (refused.outcome, "nested 5 deep" in refused.content) == ("error", True)
    assert not [event for event in events if isinstance(event, ToolFinished) and event.message.outcome == "error"]


def test_a_function_needs_a_name() -> None:
    with pytest.raises(ConfigurationError):
        handoff(spanish)
    with pytest.raises(ToolDefinitionError):
        handoff(Agent(Scripted(), name="not a name"))
    with pytest.raises(ToolDefinitionError, match="two tools have the name 'transfer_to_agent'"):
        Agent(Scripted(), tools=[handoff(Agent(Scripted())), handoff(Agent(Scripted()))])


class Answer(BaseModel):
    text: str


@pytest.mark.parametrize("mode", ["tool", "format"])
def test_a_typed_answer_and_a_handoff_cannot_both_end_a_run(mode: Any) -> None:
    with pytest.raises(ConfigurationError, match="transfer_to_spanish"):
        Agent(Scripted(), tools=[handoff(spanish())], output=Answer, output_mode=mode)


async def test_a_typed_answer_of_the_other_is_its_text() -> None:
    other = spanish(called(("final_answer", {"text": "Hola."})), output=Answer)
    result = await triage(other).run("go")
    assert (result.output, result.stop) == ('{"text":"Hola."}', "tool")


async def test_beside_a_handoff_other_calls_are_run() -> None:
    both = called(("add", {"a": 1, "b": 1}), ("transfer_to_spanish", {}))
    model = Scripted(said("Hola."))
    agent = Agent(Scripted(both), tools=[add, handoff(Agent(model, name="spanish"))], settings=Settings(temperature=0))
    result = await agent.run("go")
    assert result.output == "Hola."
    assert [message.content for message in result.messages if isinstance(message, ToolMessage)] == ["2", "Hola."]
    assert model.requests[0].messages == (UserMessage("go"),)
