"""Agents that are tools of other agents."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    AgentkitError,
    AssistantMessage,
    ChatClient,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    ConnectionFailed,
    Decision,
    Event,
    LimitReached,
    Limits,
    Nested,
    Price,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    SystemMessage,
    TextDelta,
    Tool,
    ToolCall,
    ToolContext,
    ToolFinished,
    ToolMessage,
    ToolProgress,
    ToolStarted,
    Usage,
    UserMessage,
    approve,
    tool,
)
from agentkit.agent.subagents import conversation_before
from agentkit.core.model import OnChunk
from agentkit.testing import answer, calling, chaos
from tests.scripted import Play, Scripted, called, said

pytestmark = pytest.mark.anyio

ASK = ("ask", {"prompt": "2 + 2?"})
DENIED = "Not run: the user did not allow this call: nobody was there to allow it."


def about(cost: float) -> Any:
    return pytest.approx(cost)


def add(a: int, b: int) -> int:
    return a + b


def asking(child: Agent[Any, Any], *plays: Play, **options: Any) -> Agent[Any, Any]:
    """An agent that asks another."""
    model = Scripted(*plays) if plays else Scripted(called(ASK), said("It is 4."))
    return Agent(model, tools=[child.as_tool("ask", "Ask someone who can add.")], name="outer", **options)


def adder(*plays: Play, **options: Any) -> Agent[Any, Any]:
    plays = plays or (called(("add", {"a": 2, "b": 2})), said("4"))
    given: dict[str, Any] = {"tools": [add], "name": "inner", **options}
    return Agent(Scripted(*plays), **given)


def answered(messages: tuple[Any, ...]) -> list[ToolMessage]:
    return [message for message in messages if isinstance(message, ToolMessage)]


async def test_an_agent_asks_another() -> None:
    model = Scripted(called(("add", {"a": 2, "b": 2})), said("4"))
    child = Agent(model, tools=[add], instructions="You add.")
    result = await asking(child).run("go")
    assert result.output == "It is 4."
    assert answered(result.messages) == [ToolMessage("c0", "4")]
    # It sees the prompt and its own instructions, and nothing else of the conversation.
    assert model.requests[0].messages == (SystemMessage("You add."), UserMessage("2 + 2?"))


def test_what_the_calling_model_is_told_of_it() -> None:
    spec = adder().as_tool("ask", "Ask someone who can add.").spec
    assert (spec.name, spec.description) == ("ask", "Ask someone who can add.")
    properties: Any = spec.parameters["properties"]
    assert (list(properties), properties["prompt"]["type"]) == (["prompt"], "string")
    assert spec.parameters["required"] == ["prompt"]


class Sum(BaseModel):
    value: int


async def test_a_typed_answer_is_told_as_json() -> None:
    result = await asking(adder(called(("final_answer", {"value": 4})), output=Sum)).run("go")
    assert answered(result.messages) == [ToolMessage("c0", '{"value":4}')]


def briefly(error: Exception) -> str:
    return f"{type(error).__name__}!"


@pytest.mark.parametrize(
    ("errors", "told"), [("show", "ConnectionFailed: no endpoint"), (briefly, "ConnectionFailed!")]
)
async def test_a_failure_is_told_as_that_of_any_tool(errors: Any, told: str) -> None:
    events: list[Event] = []
    child = adder(ConnectionFailed("no endpoint"))
    result = await asking(child, errors=errors, observers=[events.append]).run("go")
    assert result.output == "It is 4."
    assert answered(result.messages) == [ToolMessage("c0", told, "error")]
    finished = next(event for event in events if isinstance(event, ToolFinished))
    assert isinstance(finished.error, ConnectionFailed)
    assert finished.error.partial is not None
    assert finished.error.partial.messages == (UserMessage("2 + 2?"),)


async def test_a_limit_of_its_own_is_a_failure() -> None:
    child = adder(called(("add", {"a": 2, "b": 2})), limits=Limits(steps=1))
    (told,) = answered((await asking(child).run("go")).messages)
    assert (told.outcome, told.content.partition(":")[0]) == ("error", "LimitReached")


async def test_several_at_once() -> None:
    arrived = [anyio.Event(), anyio.Event()]

    async def meet(number: int) -> int:
        arrived[number].set()
        with anyio.fail_after(60):
            await arrived[1 - number].wait()
        return number

    def play(request: ChatRequest) -> AssistantMessage:
        last = request.messages[-1]
        return called(("meet", {"number": int(str(last.content))})) if isinstance(last, UserMessage) else said("met")

    child = Agent(Scripted(play), tools=[meet])
    both = called(("ask", {"prompt": "0"}), ("ask", {"prompt": "1"}))
    result = await asking(child, both, said("Both met.")).run("go")
    assert [message.content for message in answered(result.messages)] == ["met", "met"]


# Events


FIRST = (RunStarted, StepStarted, StepFinished, ToolStarted)
LAST = (ToolFinished, StepStarted, StepFinished, RunFinished)


def bare(event: Event) -> Event:
    return bare(event.event) if isinstance(event, Nested) else event


async def test_what_it_tells_comes_nested() -> None:
    events: list[Event] = []
    own: list[Event] = []
    child = adder(observers=[own.append])
    await asking(child, observers=[events.append]).run("go")
    kinds = [type(event) for event in events]
    assert kinds == [*FIRST, *[Nested] * 8, *LAST]
    nested = [event for event in events if isinstance(event, Nested)]
    assert {item.call for item in nested} == {ToolCall("c0", "ask", '{"prompt": "2 + 2?"}')}
    inner = [item.event for item in nested]
    assert inner == own
    assert [type(event) for event in inner] == [*FIRST, *LAST]
    outer_id, inner_id = events[0].run_id, inner[0].run_id
    assert {event.run_id for event in events} == {outer_id}
    assert {event.run_id for event in inner} == {inner_id}
    assert len({"", outer_id, inner_id}) == 3
    assert (events[0], inner[0]) == (RunStarted("outer", "scripted"), RunStarted("inner", "scripted", outer_id))


async def test_an_agent_in_an_agent_in_an_agent() -> None:
    events: list[Event] = []
    middle = asking(adder())
    await asking(middle, observers=[events.append]).run("go")
    deep = [event.event for event in events if isinstance(event, Nested) and isinstance(event.event, Nested)]
    assert isinstance(bare(deep[0]), RunStarted)
    assert isinstance(bare(deep[-1]), RunFinished)
    started = [bare(event) for event in events if isinstance(bare(event), RunStarted)]
    parents = [item.parent for item in started if isinstance(item, RunStarted)]
    assert parents == [None, started[0].run_id, started[1].run_id]
    assert len({item.run_id for item in started}) == 3


async def test_a_streamed_run_streams_what_is_within() -> None:
    with chaos(answer("two and two")) as endpoint:
        child = Agent(ChatClient("m", base_url=endpoint.url))
        async with asking(child).stream("go") as run:
            events = [event async for event in run]
        await asking(child).run("go")
    assert [request.get("stream", False) for request in endpoint.requests] == [True, False]
    inner = [event.event for event in events if isinstance(event, Nested)]
    assert [event.text for event in inner if isinstance(event, TextDelta)] == ["two", " and", " two"]


async def test_progress_comes_nested() -> None:
    async def count() -> Any:
        yield 1
        yield 2

    events: list[Event] = []
    child = adder(called(("count", {})), said("2"), tools=[count])
    await asking(child, observers=[events.append]).run("go")
    inner = [event.event for event in events if isinstance(event, Nested)]
    assert [event.value for event in inner if isinstance(event, ToolProgress)] == [1, 2]


@pytest.mark.parametrize("deep", [1, 2])
async def test_an_observer_that_fails_at_what_is_nested_ends_the_run(deep: int) -> None:
    """It is no failure of the tool: no model is told, and no model is asked after it."""
    failure = RuntimeError("the observer")
    others: list[Event] = []

    def observer(event: Event) -> None:
        if isinstance(event, Nested) and isinstance(bare(event), ToolStarted):
            raise failure

    child = adder()
    for _ in range(deep - 1):
        child = asking(child)
    outer = Scripted(called(ASK), said("It is 4."))
    agent = Agent(outer, tools=[child.as_tool("ask", "Ask.")], observers=[observer, others.append])
    with pytest.raises(RuntimeError) as caught:
        await agent.run("go")
    assert caught.value is failure
    assert len(outer.requests) == 1
    assert isinstance(others[-1], RunFinished)
    assert others[-1].error is failure
    assert [item for item in others if isinstance(item, RunFinished)] == [others[-1]]


# Usage


async def test_what_it_uses_up_counts_for_both() -> None:
    seen: list[Usage] = []

    async def look(ctx: ToolContext[None]) -> str:
        seen.append(ctx.usage)
        return "ok"

    events: list[Event] = []
    child = adder(prices=Price(1_000, 0))
    ask = child.as_tool("ask", "Ask.")
    model = Scripted(called(ASK), called(("look", {})), said("It is 4."))
    result = await Agent(model, tools=[ask, look], observers=[events.append]).run("go")
    assert result.usage == Usage(5, 50, 25, cost=about(0.02))
    assert sum((step.usage for step in result.steps), Usage()) == Usage(3, 30, 15)
    assert seen == [Usage(4, 40, 20, cost=about(0.02))]
    assert events[-1] == RunFinished("answer", result.usage)
    inner = [event.event for event in events if isinstance(event, Nested)]
    assert inner[-1] == RunFinished("answer", Usage(2, 20, 10, cost=about(0.02)))


def endless(request: ChatRequest) -> AssistantMessage:
    """Adds as long as it may."""
    if request.tool_choice.mode == "none":
        return said("About 4.")
    return called(("add", {"a": len(request.messages), "b": 1}))


@pytest.mark.parametrize(
    ("given", "limit", "requests"),
    [
        ({"requests": 4}, "requests", 4),
        ({"tokens": 60}, "tokens", 4),
        ({"cost": 0.04}, "cost", 4),
        ({"calls": 3}, "calls", 4),  # that of the agent counts too
        ({"calls_of": {"add": 2}}, "calls_of", 4),
    ],
)
async def test_one_that_uses_up_what_the_other_may_ends_both(given: Any, limit: str, requests: int) -> None:
    events: list[Event] = []
    child = Agent(Scripted(endless), tools=[add], name="inner")
    tools = [child.as_tool("ask", "Ask."), add]
    options: dict[str, Any] = {"tools": tools, "prices": Price(1_000, 0), "observers": [events.append]}
    with pytest.raises(LimitReached) as caught:
        await Agent(Scripted(called(ASK)), limits=Limits(**given), **options).run("go")
    assert caught.value.limit == limit
    assert caught.value.partial is not None
    assert caught.value.partial.usage == Usage(requests, 10 * requests, 5 * requests, cost=about(0.01 * requests))
    (told,) = answered(caught.value.partial.messages)
    assert (told.outcome, told.content.partition(":")[0]) == ("error", "LimitReached")
    ended = next(event.event for event in events if isinstance(event, Nested) and isinstance(event.event, RunFinished))
    assert isinstance(ended, RunFinished)
    assert isinstance(ended.error, LimitReached)
    assert ended.error.limit == limit
    # The same, where both may answer: each once, the inner one first.
    child = Agent(Scripted(endless), tools=[add], limits=Limits(at_end="answer"))
    options["tools"] = [child.as_tool("ask", "Ask."), add]
    model = Scripted(called(ASK), said("It is 4, I think."))
    result = await Agent(model, limits=Limits(**given, at_end="answer"), **options).run("go")
    assert (result.output, result.stop) == ("It is 4, I think.", "limit")
    assert answered(result.messages) == [ToolMessage("c0", "About 4.")]
    assert [step.policy for step in result.steps] == ["auto & no_repeat(5)", f"limits: {limit}"]


async def test_steps_are_those_of_each_run() -> None:
    child = adder(limits=Limits(steps=2))
    result = await asking(child, limits=Limits(steps=2)).run("go")
    assert (result.stop, len(result.steps), result.usage.requests) == ("answer", 2, 4)


async def test_its_requests_have_the_prices_of_whoever_asks_unless_it_has_its_own() -> None:
    own, other = Price(1_000, 0), Price(2_000, 0)
    assert (await asking(adder(prices=own), prices=other).run("go")).usage.cost == pytest.approx(0.06)
    assert (await asking(adder(), prices=other).run("go")).usage.cost == pytest.approx(0.08)
    assert (await asking(asking(adder()), prices=other).run("go")).usage.cost == pytest.approx(0.12)


async def test_a_limit_on_the_cost_holds_for_models_without_a_price() -> None:
    class Other(Scripted):
        name = "other"

    child = Agent(Other(said("4")))
    result = await asking(child, prices={"scripted": Price(1, 1)}, limits=Limits(cost=1)).run("go")
    (told,) = answered(result.messages)
    assert told.content.startswith(f"{ConfigurationError.__name__}: Limits(cost=…) needs prices: no price is known for")
    assert "'other'" in told.content


# Depth


def nested(depth: int, **options: Any) -> Agent[Any, Any]:
    agent = adder()
    for _ in range(depth):
        agent = asking(agent, **options)
    return agent


async def test_agents_are_nested_as_deep_as_is_allowed() -> None:
    events: list[Event] = []
    result = await asking(nested(1), limits=Limits(depth=1), observers=[events.append]).run("go")
    assert result.output == "It is 4."
    told = [event for event in map(bare, events) if isinstance(event, ToolFinished)]
    assert [event.message.outcome for event in told] == ["error", "ok"]
    assert "nested 1 deep" in told[0].message.content


@pytest.mark.parametrize(("inner", "outer", "allowed"), [(5, 5, True), (9, 4, False), (1, 5, False), (9, 9, True)])
async def test_each_agent_says_how_deep_there_may_be_others_within(inner: int, outer: int, *, allowed: bool) -> None:
    events: list[Event] = []
    middle = asking(nested(3), limits=Limits(depth=inner))
    await asking(middle, limits=Limits(depth=outer), observers=[events.append]).run("go")
    told = [event.message.outcome for event in map(bare, events) if isinstance(event, ToolFinished)]
    assert ("error" not in told) is allowed


async def test_an_agent_that_asks_itself_comes_to_an_end() -> None:
    box: list[Tool] = []

    async def ask(prompt: str, ctx: ToolContext[None]) -> object:
        return await box[0].function(prompt=prompt, ctx=ctx)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]

    def play(request: ChatRequest) -> AssistantMessage:
        return called(ASK) if isinstance(request.messages[-1], UserMessage) else said("Enough.")

    agent = Agent(Scripted(play), tools=[ask], limits=Limits(depth=3))
    box.append(agent.as_tool("ask", "Ask."))
    result = await agent.run("go")
    assert (result.output, result.usage.requests) == ("Enough.", 8)


# Deps


@dataclass
class Db:
    rows: int


async def test_the_deps_are_the_same() -> None:
    async def rows(ctx: ToolContext[Db]) -> int:
        return ctx.deps.rows

    child = Agent(Scripted(called(("rows", {})), said("done")), tools=[rows], deps_type=Db)
    events: list[Event] = []
    tools = [child.as_tool("ask", "Ask.")]
    parent = Agent(Scripted(called(ASK), said("ok")), tools=tools, deps_type=Db, observers=[events.append])
    await parent.run("go", deps=Db(7))
    told = [event.message.content for event in map(bare, events) if isinstance(event, ToolFinished)]
    assert told == ["7", "done"]
    # Without them it says so, before anything is asked.
    lacking = Agent(Scripted(called(ASK), said("ok")), tools=tools)
    (answer,) = answered((await lacking.run("go")).messages)
    assert answer.content.startswith("InvalidRequest: the tools of agent need a Db")


# Approval


PAID: list[int] = []


@tool(approval=True)
def pay(amount: int) -> str:
    PAID.append(amount)
    return "paid"


PAY = called(("pay", {"amount": 5}))


def payer() -> Agent[Any, Any]:
    PAID.clear()
    return Agent(Scripted(PAY, said("done")), tools=[pay])


Says: TypeAlias = Callable[[ToolCall], bool | Decision | None]
DECIDED: list[tuple[Says | None, str, list[int]]] = [
    (lambda call: True, "paid", [5]),
    (lambda call: False, "Not run: the user did not allow this call.", []),
    (lambda call: None, DENIED, []),
    (None, DENIED, []),
    (lambda call: approve(call, {"amount": 3}), 'The user changed the arguments to {"amount":3}.\n\npaid', [3]),
]


@pytest.mark.parametrize("deep", [1, 2])
@pytest.mark.parametrize(("says", "told", "paid"), DECIDED)
async def test_who_decides_on_its_calls(deep: int, says: Says | None, told: str, paid: list[int]) -> None:
    asked: list[ToolCall] = []

    def approver(call: ToolCall) -> bool | Decision | None:
        asked.append(call)
        return says(call) if says else None

    events: list[Event] = []
    agent = payer()
    for _ in range(deep - 1):
        agent = asking(agent)
    parent = asking(agent, observers=[events.append])
    result = await parent.run("go", approver=approver if says else None)
    assert (result.output, result.stop) == ("It is 4.", "answer")
    finished = [event for event in map(bare, events) if isinstance(event, ToolFinished) and event.call.name == "pay"]
    assert [event.message.content for event in finished] == [told]
    assert paid == PAID
    assert asked == ([PAY.tool_calls[0]] if says else [])


async def test_the_approver_is_asked_as_it_is() -> None:
    async def approver(call: ToolCall) -> bool:
        await anyio.lowlevel.checkpoint()
        return call.name == "pay"

    await asking(payer()).run("go", approver=approver)
    assert PAID == [5]


# Cancellation, time


class Hangs(Scripted):
    def __init__(self) -> None:
        super().__init__(said(""))
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


def ended(events: list[Event]) -> list[type]:
    inner = [event.event for event in events if isinstance(event, Nested)]
    return [type(event.error) for event in inner if isinstance(event, RunFinished)]


async def test_a_cancellation_reaches_it() -> None:
    events: list[Event] = []
    model = Hangs()
    async with anyio.create_task_group() as group:
        group.start_soon(asking(Agent(model), observers=[events.append]).run, "go")
        await model.begun.wait()
        group.cancel_scope.cancel()
    assert isinstance(model.ended, anyio.get_cancelled_exc_class())
    assert ended(events) == [type(model.ended)]
    assert isinstance(events[-1], RunFinished)


async def test_leaving_a_stream_reaches_it() -> None:
    model = Hangs()
    async with asking(Agent(model)).stream("go") as run:
        async for event in run:
            if isinstance(event, Nested) and isinstance(event.event, StepStarted):
                break
        await model.begun.wait()
    assert model.ended is not None
    with pytest.raises(AgentkitError):
        _ = run.result


async def test_the_time_of_the_run_reaches_it() -> None:
    events: list[Event] = []
    model = Hangs()
    limits = Limits(seconds=0.1, at_end="answer")
    with anyio.fail_after(60):
        result = await asking(Agent(model), limits=limits, observers=[events.append]).run("go")
    assert (result.output, result.stop) == ("It is 4.", "limit")
    assert [message.outcome for message in answered(result.messages)] == ["cancelled"]
    assert ended(events) == [type(model.ended)]


async def test_the_time_of_a_tool_reaches_it() -> None:
    model = Hangs()
    inner = Agent(model).as_tool("inner", "")

    @tool(timeout=0.1)
    async def ask(prompt: str, ctx: ToolContext[None]) -> object:
        return await inner.function(prompt=prompt, ctx=ctx)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]

    with anyio.fail_after(60):
        result = await Agent(Scripted(called(ASK), said("ok")), tools=[ask]).run("go")
    assert [result.outcome for result in answered(result.messages)] == ["error"]
    assert model.ended is not None


async def test_its_own_time_is_its_own() -> None:
    with anyio.fail_after(60):
        result = await asking(Agent(Hangs(), limits=Limits(seconds=0.2))).run("go")
    (told,) = answered(result.messages)
    assert told.content.startswith("LimitReached: the run took more than 0.2 s;")


async def test_over_real_sockets() -> None:
    with chaos(calling(ASK), answer("4"), answer("It is 4.")) as endpoint:
        client = ChatClient("m", base_url=endpoint.url)
        result = await Agent(client, tools=[Agent(client).as_tool("ask", "Ask.")]).run("go")
    assert (result.output, result.usage) == ("It is 4.", Usage(3, 30, 15))


# A conversation


@pytest.mark.parametrize(
    ("before", "seen"),
    [
        ((UserMessage("a"),), 1),
        ((SystemMessage("s"), UserMessage("a")), 1),
        ((SystemMessage("s"), UserMessage("a"), AssistantMessage("b"), UserMessage("c")), 3),
        ((), 0),
        ((SystemMessage("s"),), 0),
    ],
)
def test_a_conversation_without_the_instructions_and_the_reply(before: tuple[Any, ...], seen: int) -> None:
    reply = called(ASK, ("add", {}))
    for answers in ((), (ToolMessage("c1", "2"),)):
        context = ToolContext(
            deps=None,
            run_id="",
            call=reply.tool_calls[0],
            step=0,
            messages=(*before, reply, *answers),
            _on_progress=print,
        )
        assert conversation_before(context) == before[len(before) - seen :]
