"""Agents that are tools of other agents."""

from collections.abc import Callable, Iterable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from agentkit import Agent, ChatClient, Decision, Limits, Price, Tool, ToolContext, approve, tool
from agentkit.agent.subagents import conversation_before
from agentkit.core.chat import ChatRequest, ChatResponse
from agentkit.core.errors import AgentkitError, ConfigurationError, ConnectionFailed, LimitReached
from agentkit.core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.runs.events import (
    Event,
    Nested,
    RunFinished,
    RunStarted,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from agentkit.testing import answer, chaos
from tests.agent import BOTH_BACKENDS, about, tool_messages
from tests.scripted import Play, Scripted, called, said
from tests.tools.test_context import context

pytestmark = pytest.mark.anyio

ASK, ADD = called(("ask", {"prompt": "2 + 2?"})), called(("add", {"a": 2, "b": 2}))
CENT = Price(1_000, 0)  # of the 10 tokens of each request


def add(a: int, b: int) -> int:
    return a + b


def asking(child: Agent[Any, Any], *plays: Play, **options: Any) -> Agent[Any, Any]:
    """An agent that asks another."""
    child_tool = child.as_tool("ask", "Ask someone who can add.")
    tools = [child_tool, *options.pop("tools", ())]
    return Agent(Scripted(*(plays or (ASK, said("It is 4.")))), tools=tools, name="outer", **options)


def adder(*plays: Play, **options: Any) -> Agent[Any, Any]:
    return Agent(Scripted(*(plays or (ADD, said("4")))), **(dict[str, Any](tools=[add], name="inner") | options))


def bare(event: Event) -> Event:
    return bare(event.event) if isinstance(event, Nested) else event


def inner(events: Iterable[Event]) -> list[Event]:
    return [event.event for event in events if isinstance(event, Nested)]


def briefly(error: Exception) -> str:
    return f"{type(error).__name__}!"


class Sum(BaseModel):
    value: int


async def test_an_agent_asks_another() -> None:
    model = Scripted(ADD, called(("final_answer", {"value": 4})))
    child = Agent(model, tools=[add], instructions="You add.", output=Sum)
    result = await asking(child).run("go")
    assert result.output == "It is 4."
    assert tool_messages(result.messages) == [ToolMessage("c0", '{"value":4}')]
    # It sees the prompt and its own instructions, and nothing else of the conversation.
    assert model.requests[0].messages == (SystemMessage("You add."), UserMessage("2 + 2?"))
    spec = child.as_tool("ask", "Ask someone who can add.").spec
    assert (spec.name, spec.description) == ("ask", "Ask someone who can add.")
    assert list(spec.parameters["properties"]) == ["prompt"]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("child", "errors", "error", "text"),
    [
        (lambda: adder(ConnectionFailed("no endpoint")), "show", ConnectionFailed, "ConnectionFailed: no endpoint"),
        (lambda: adder(ConnectionFailed("no")), briefly, ConnectionFailed, "ConnectionFailed!"),
        (lambda: adder(limits=Limits(steps=1)), "show", LimitReached, "LimitReached: "),
    ],
)
async def test_a_failure_is_a_result_as_of_any_tool(child: Any, errors: Any, error: type, text: str) -> None:
    events: list[Event] = []
    result = await asking(child(), errors=errors, observers=[events.append]).run("go")
    assert result.output == "It is 4."
    (message,) = tool_messages(result.messages)
    assert (message.outcome, message.content[: len(text)]) == ("error", text)
    raised = next(event.error for event in events if isinstance(event, ToolFinished))
    assert isinstance(raised, error)
    assert isinstance(raised, AgentkitError)
    assert raised.partial is not None
    assert raised.partial.messages[0] == UserMessage("2 + 2?")


@BOTH_BACKENDS
async def test_several_at_once() -> None:
    arrived = [anyio.Event(), anyio.Event()]

    async def meet(number: int) -> int:
        arrived[number].set()
        await arrived[1 - number].wait()
        return number

    def play(request: ChatRequest) -> AssistantMessage:
        last = request.messages[-1]
        return called(("meet", {"number": int(str(last.content))})) if isinstance(last, UserMessage) else said("met")

    both = called(("ask", {"prompt": "0"}), ("ask", {"prompt": "1"}))
    result = await asking(Agent(Scripted(play), tools=[meet]), both, said("Both met.")).run("go")
    assert [message.content for message in tool_messages(result.messages)] == ["met", "met"]


async def test_a_call_outside_of_a_run_is_refused() -> None:
    ask: Any = adder().as_tool("ask", "Ask.").function
    with pytest.raises(ConfigurationError, match="inner"):
        await ask(prompt="2 + 2?", ctx=context())


# -------------------------------------------------------------------------------------------------------------- events


async def test_its_events_are_nested() -> None:
    events: list[Event] = []
    own: list[Event] = []
    await asking(asking(adder(observers=[own.append])), observers=[events.append]).run("go")
    run = "RunStarted StepStarted StepFinished ToolStarted {}ToolFinished StepStarted StepFinished RunFinished"
    assert inner(inner(events)) == own
    for layer, within in ((own, []), (inner(events), own), (events, inner(events))):
        assert " ".join(type(event).__name__ for event in layer) == run.format("Nested " * len(within))
        assert len({event.run_id for event in layer}) == 1
    assert {event.call for event in events if isinstance(event, Nested)} == set(ASK.tool_calls)
    started = [event for event in map(bare, events) if isinstance(event, RunStarted)]
    assert [event.parent for event in started] == [None, started[0].run_id, started[1].run_id]
    assert len({"", *[event.run_id for event in started]}) == 4
    assert [event.agent for event in started] == ["outer", "outer", "inner"]


async def test_a_streamed_run_streams_the_nested_one() -> None:
    with chaos(answer("two and two")) as endpoint:
        child = Agent(ChatClient("m", base_url=endpoint.url))
        async with asking(child).stream("go") as run:
            events = [event async for event in run]
        await asking(child).run("go")
    assert [request.get("stream", False) for request in endpoint.requests] == [True, False]
    assert [event.text for event in inner(events) if isinstance(event, TextDelta)] == ["two", " and", " two"]


@pytest.mark.parametrize("depth", [1, 2])
async def test_an_observer_that_fails_at_a_nested_event_ends_the_run(depth: int) -> None:
    """It is no failure of the tool: no model sees it, and no model is asked after it."""
    failure = RuntimeError("the observer")
    events: list[Event] = []

    def observer(event: Event) -> None:
        if isinstance(event := bare(event), ToolStarted) and event.call.name == "add":
            raise failure

    agent = asking(nested(depth - 1), observers=[observer, events.append])
    with pytest.raises(RuntimeError) as caught:
        await agent.run("go")
    assert caught.value is failure
    (finished,) = [event for event in events if isinstance(event, RunFinished)]
    assert (events[-1], finished.error, finished.usage.requests) == (finished, failure, depth + 1)


# --------------------------------------------------------------------------------------------------------------- usage


async def test_its_usage_counts_for_both() -> None:
    seen: list[Usage] = []

    async def look(ctx: ToolContext[None]) -> str:
        seen.append(ctx.usage)
        return "ok"

    events: list[Event] = []
    plays, options = [ASK, called(("look", {})), said("It is 4.")], {"tools": [look], "observers": [events.append]}
    # The steps are limited for each run.
    result = await asking(adder(prices=CENT, limits=Limits(steps=2)), *plays, limits=Limits(steps=3), **options).run(
        "go"
    )
    cost = about(0.02)
    assert result.usage == Usage(5, 50, 25, cost=cost)
    assert sum((step.usage for step in result.steps), Usage()) == Usage(3, 30, 15)
    assert seen == [Usage(4, 40, 20, cost=cost)]
    assert events[-1] == RunFinished("answer", result.usage)
    assert inner(events)[-1] == RunFinished("answer", Usage(2, 20, 10, cost=cost))


def endless(request: ChatRequest) -> AssistantMessage:
    """Add as long as it may."""
    if request.tool_choice.mode == "none":
        return said("About 4.")
    return called(("add", {"a": len(request.messages), "b": 1}))


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({"requests": 4}, "requests"),
        ({"tokens": 60}, "tokens"),
        ({"cost": 0.04}, "cost"),
        ({"calls": 3}, "calls"),  # the call of the agent counts too
    ],
)
async def test_a_limit_of_the_outer_run_ends_both(values: Any, limit: str) -> None:
    events: list[Event] = []
    options: dict[str, Any] = {"tools": [add], "prices": CENT, "observers": [events.append]}
    with pytest.raises(LimitReached) as caught:
        await asking(adder(endless), ASK, limits=Limits(**values), **options).run("go")
    assert caught.value.limit == limit
    assert caught.value.partial is not None
    assert caught.value.partial.usage == Usage(4, 40, 20, cost=about(0.04))
    (message,) = tool_messages(caught.value.partial.messages)
    assert (message.outcome, message.content.partition(":")[0]) == ("error", "LimitReached")
    ended = inner(events)[-1]
    assert isinstance(ended, RunFinished)
    assert isinstance(ended.error, LimitReached)
    assert ended.error.limit == limit
    # If both may answer, both do, the inner one first.
    child = adder(endless, limits=Limits(at_end="answer"))
    result = await asking(child, limits=Limits(**values, at_end="answer"), **options).run("go")
    assert (result.output, result.stop) == ("It is 4.", "limit")
    assert tool_messages(result.messages) == [ToolMessage("c0", "About 4.")]
    assert [step.policy for step in result.steps] == ["auto & no_repeat(5)", f"limits: {limit}"]


async def test_it_has_the_prices_of_the_outer_agent_unless_it_has_its_own() -> None:
    prices = Price(2_000, 0)
    for agent, cost in (
        (asking(adder(prices=CENT), prices=prices), 0.06),
        (asking(adder(), prices=prices), 0.08),
        (asking(asking(adder()), prices=prices), 0.12),
    ):
        assert (await agent.run("go")).usage.cost == about(cost)


# --------------------------------------------------------------------------------------------------------------- depth


def nested(depth: int) -> Agent[Any, Any]:
    agent = adder()
    for _ in range(depth):
        agent = asking(agent)
    return agent


async def test_an_agent_that_asks_itself_comes_to_an_end() -> None:
    box: list[Tool] = []

    async def ask(prompt: str, ctx: ToolContext[None]) -> object:
        function: Any = box[0].function
        return await function(prompt=prompt, ctx=ctx)

    def play(request: ChatRequest) -> AssistantMessage:
        return ASK if isinstance(request.messages[-1], UserMessage) else said("Enough.")

    agent = Agent(Scripted(play), tools=[ask], limits=Limits(depth=3))
    box.append(agent.as_tool("ask", "Ask."))
    result = await agent.run("go")
    assert (result.output, result.usage.requests) == ("Enough.", 8)


# --------------------------------------------------------------------------------------------------- deps and approval


async def test_it_has_the_deps_of_the_outer_run() -> None:
    async def double(ctx: ToolContext[int]) -> int:
        return 2 * ctx.deps

    child = Agent(Scripted(called(("double", {})), said("done")), tools=[double], deps_type=int)
    events: list[Event] = []
    await asking(child, deps_type=int, observers=[events.append]).run("go", deps=7)
    results = [event.message.content for event in map(bare, events) if isinstance(event, ToolFinished)]
    assert results == ["14", "done"]
    # Without deps the call fails before anything is asked.
    (message,) = tool_messages((await asking(child).run("go")).messages)
    assert message.content.startswith("InvalidRequest: ")


PAID: list[int] = []
PAY = called(("pay", {"amount": 5}))


@tool(approval=True)
def pay(amount: int) -> str:
    PAID.append(amount)
    return "paid"


async def decide_later(call: ToolCall) -> bool:
    await checkpoint()
    return call.name == "pay"


def change(call: ToolCall) -> Decision:
    return approve(call, {"amount": 3})


def always(decision: object) -> Callable[[ToolCall], object]:
    def decide(_: ToolCall) -> object:
        return decision

    return decide


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize(
    ("decide", "outcome", "paid"),
    [
        (always(True), "ok", [5]),
        (always(False), "refused", []),
        (always(None), "refused", []),
        (None, "refused", []),
        (decide_later, "ok", [5]),
        (change, "ok", [3]),
    ],
)
async def test_the_approver_of_the_outer_run_decides(depth: int, decide: Any, outcome: str, paid: list[int]) -> None:
    PAID.clear()
    asked: list[ToolCall] = []

    def approver(call: ToolCall) -> Any:
        asked.append(call)
        return decide(call) if decide else None

    events: list[Event] = []
    child = Agent(Scripted(PAY, said("done")), tools=[pay])
    agent = asking(asking(child) if depth else child, observers=[events.append])
    result = await agent.run("go", approver=approver if decide else None)
    assert (result.output, result.stop) == ("It is 4.", "answer")
    finished = [event for event in map(bare, events) if isinstance(event, ToolFinished) and event.call.name == "pay"]
    assert [event.message.outcome for event in finished] == [outcome]
    assert paid == PAID
    assert asked == ([*PAY.tool_calls] if decide else [])


# -------------------------------------------------------------------------------------------------- cancellation, time


class Hangs(Scripted):
    def __init__(self) -> None:
        super().__init__()
        self.begun = anyio.Event()
        self.ended: BaseException | None = None

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException as error:
            self.ended = error
            raise
        raise AssertionError


@BOTH_BACKENDS
@pytest.mark.parametrize("how", ["cancel", "leave", "time"])
async def test_the_end_of_the_outer_run_reaches_it(how: str) -> None:
    model, events = Hangs(), list[Event]()
    limits = Limits(seconds=0.2, at_end="answer") if how == "time" else Limits()
    agent = asking(Agent(model), limits=limits, observers=[events.append])
    if how == "cancel":
        async with anyio.create_task_group() as group:
            group.start_soon(agent.run, "go")
            await model.begun.wait()
            group.cancel_scope.cancel()
    elif how == "leave":
        async with agent.stream("go") as run:
            async for event in run:
                if isinstance(event, Nested) and isinstance(event.event, StepStarted):
                    break
            await model.begun.wait()
        with pytest.raises(AgentkitError):
            _ = run.result
    else:
        result = await agent.run("go")
        assert (result.output, result.stop) == ("It is 4.", "limit")
        assert [message.outcome for message in tool_messages(result.messages)] == ["cancelled"]
    assert isinstance(model.ended, anyio.get_cancelled_exc_class())
    (ended,) = [event for event in inner(events) if isinstance(event, RunFinished)]
    assert type(ended.error) is type(model.ended)
    assert isinstance(events[-1], RunFinished)


async def test_the_time_of_a_tool_or_its_own_is_a_result() -> None:
    model = Hangs()
    function: Any = Agent(model).as_tool("inner", "").function

    @tool(timeout=0.1)
    async def ask(prompt: str, ctx: ToolContext[None]) -> object:
        return await function(prompt=prompt, ctx=ctx)

    for agent in (Agent(Scripted(ASK, said("ok")), tools=[ask]), asking(Agent(model, limits=Limits(seconds=0.1)))):
        model.ended = None
        (message,) = tool_messages((await agent.run("go")).messages)
        assert (message.outcome, "0.1 s" in message.content) == ("error", True)
        assert model.ended is not None


def test_the_conversation_before_a_call_has_no_instructions() -> None:
    reply = called(("ask", {}), ("add", {}))
    instructions, user = SystemMessage("Be brief."), UserMessage("go")
    for before in ((), (user,), (user, AssistantMessage("gone"), user)):
        for messages in (before, (instructions, *before)):
            for results in ((), (ToolMessage("c1", "2"),)):
                assert conversation_before(context(messages=(*messages, reply, *results))) == before
