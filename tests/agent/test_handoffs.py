"""Handing a conversation over from one agent to another."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import Agent, ChatRequest, ConfigurationError, Limits, ToolDefinitionError, approve, handoff, tool
from agentkit.core.messages import AssistantMessage, SystemMessage, ToolMessage, Usage, UserMessage
from agentkit.runs.events import Event, Nested, RunFinished, RunStarted, ToolFinished
from tests.agent import tool_messages
from tests.endpoint import fault_in
from tests.scripted import Play, Scripted, called, said

pytestmark = pytest.mark.anyio

OVER, SPANISH = called(("transfer_to_spanish", {})), SystemMessage("Answer in Spanish.")


class Answer(BaseModel):
    text: str


def add(a: int, b: int) -> int:
    return a + b


def spanish(*plays: Play, **options: Any) -> Agent[Any, Any]:
    return Agent(Scripted(*(plays or (said("Hola."),))), name="spanish", instructions="Answer in Spanish.", **options)


def triage(other: Agent[Any, Any], *plays: Play, **options: Any) -> Agent[Any, Any]:
    return Agent(Scripted(*(plays or (OVER,))), tools=[handoff(other), add], instructions="Decide.", **options)


def test_the_tool() -> None:
    spec = handoff(spanish()).spec
    assert (spec.name, spec.parameters["properties"]) == ("transfer_to_spanish", {})
    spec = handoff(spanish(), "to_spanish", "For whoever writes Spanish.").spec
    assert (spec.name, spec.description) == ("to_spanish", "For whoever writes Spanish.")


async def test_the_other_agent_answers_and_ends_the_run() -> None:
    other, events = Scripted(said("Hola."), said("Adiós.")), list[Event]()
    plays = called(("add", {"a": 1, "b": 1})), called(("add", {"a": 1, "b": 1}), ("transfer_to_spanish", {})), OVER
    agent = triage(spanish().with_model(other), *plays, observers=[events.append])
    result = await agent.run("¿Qué tal?")
    assert (result.output, result.stop, result.usage) == ("Hola.", "tool", Usage(3, 30, 15))
    # It sees what was said and done, with its own instructions, and no call that is open.
    both = result.messages[4]
    assert isinstance(both, AssistantMessage)
    beside = replace(both, tool_calls=both.tool_calls[:1])
    assert other.requests[0].messages == (SPANISH, *result.messages[1:4], beside, result.messages[5])
    assert [message.content for message in tool_messages(result.messages)] == ["2", "2", "Hola."]
    inner = [event.event for event in events if isinstance(event, Nested)]
    assert inner[0] == RunStarted("spanish", "scripted", events[0].run_id)
    assert inner[-1] == RunFinished("answer", Usage(1, 10, 5))
    assert events[-1] == RunFinished("tool", Usage(3, 30, 15))
    again = await agent.run([*result.messages, UserMessage("Adiós.")])
    assert again.output == "Adiós."
    assert fault_in([message.to_dict() for message in again.messages]) is None


@pytest.mark.parametrize(
    ("other", "output", "stop"),
    [
        (spanish(said("Hola. " * 1000)), "Hola. " * 1000, "tool"),  # for the user it is not truncated
        (spanish(called(("final_answer", {"text": "Hola."})), output=Answer), '{"text":"Hola."}', "tool"),
        (spanish(RuntimeError("no")), "Sorry.", "answer"),  # after a failure, the first agent answers
    ],
)
async def test_the_output(other: Agent[Any, Any], output: str, stop: str) -> None:
    result = await triage(other, OVER, said("Sorry."), limits=Limits(result=1000)).run("go")
    assert (result.output, result.stop) == (output, stop)


def hand_over(request: ChatRequest) -> Any:
    """Hand over as often as it can."""
    failed = isinstance(request.messages[-1], ToolMessage)
    return said("I do it.") if failed else called((request.tools[0].name, {}))


async def test_two_that_hand_over_to_each_other_come_to_an_end() -> None:
    models = {name: Scripted(hand_over) for name in "ab"}
    agents: dict[str, Agent[Any, Any]] = {}
    for name, other in ("ab", "ba"):
        tools = [handoff(partial(agents.__getitem__, other), f"to_{other}")]
        agents[name] = Agent(models[name], tools=tools, instructions=f"I am {name}.")
    async with agents["a"].stream("go") as run:
        events = [event async for event in run]
    assert (run.result.output, run.result.stop) == ("I do it.", "tool")
    assert sum(len(model.requests) for model in models.values()) == 5 + 1 + 1
    for name, model in models.items():
        for request in model.requests:
            assert request.messages[:2] == (SystemMessage(f"I am {name}."), UserMessage("go"))
    refused = models["b"].requests[-1].messages[-1]
    assert isinstance(refused, ToolMessage)
    assert (refused.outcome, "5 deep" in refused.content) == ("error", True)
    assert not [event for event in events if isinstance(event, ToolFinished) and event.message.outcome == "error"]


@pytest.mark.parametrize("mode", ["tool", "format"])
def test_a_structured_output_and_a_handoff_cannot_both_end_a_run(mode: Any) -> None:
    with pytest.raises(ConfigurationError, match="transfer_to_spanish"):
        Agent(Scripted(), tools=[handoff(spanish())], output=Answer, output_mode=mode)


def test_a_handoff_needs_a_name_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="name=…"):
        handoff(spanish)
    with pytest.raises(ToolDefinitionError):
        handoff(Agent(Scripted(), name="not a name"))
    with pytest.raises(ToolDefinitionError, match="transfer_to_agent"):
        Agent(Scripted(), tools=[handoff(Agent(Scripted())), handoff(Agent(Scripted()))])


async def test_one_handoff_comes_after_the_other_calls_of_its_reply() -> None:
    # https://github.com/openai/openai-agents-js/issues/1122, https://github.com/langchain-ai/langgraph-swarm-py/issues/69
    first, second = Scripted(said("Hola.")), Scripted(said("Salut."))
    tools = [handoff(spanish().with_model(first)), handoff(spanish().with_model(second), "to_french"), add]
    over = called(("transfer_to_spanish", {}), ("add", {"a": 1, "b": 1}), ("to_french", {}))
    result = await Agent(Scripted(over), tools=tools).run("go")
    assert (result.output, len(second.requests)) == ("Hola.", 0)
    assert [message.outcome for message in tool_messages(result.messages)] == ["ok", "ok", "refused"]
    told = first.requests[0].messages
    assert [type(message) for message in told[1:]] == [UserMessage, AssistantMessage, ToolMessage]
    assert told[-1] == tool_messages(result.messages)[1]
    assert fault_in([message.to_dict() for message in told]) is None
    # After one that failed, the first agent goes on.
    failing = Agent(Scripted(over, said("Sorry.")), tools=[handoff(spanish(RuntimeError("no"))), *tools[1:]])
    assert (await failing.run("go")).output == "Sorry."
    assert not second.requests


async def test_no_handoff_beside_a_call_that_ends_the_run_or_waits() -> None:
    other = Scripted(said("Hola."))

    @tool(ends=True)
    def finish() -> str:
        return "finished"

    @tool(approval=True)
    def pay() -> str:
        return "paid"

    tools = [handoff(spanish().with_model(other)), finish, pay]
    ended = await Agent(Scripted(called(("transfer_to_spanish", {}), ("finish", {}))), tools=tools).run("go")
    assert (ended.output, len(other.requests)) == ("finished", 0)
    agent = Agent(Scripted(called(("transfer_to_spanish", {}), ("pay", {}))), tools=tools)
    paused = await agent.run("go")
    assert (paused.stop, len(other.requests)) == ("paused", 0)
    resumed = await agent.resume(paused.messages, [approve(call) for call in paused.pending])
    assert (resumed.output, len(other.requests)) == ("Hola.", 1)
    assert other.requests[0].messages[-1].content == "paid"
