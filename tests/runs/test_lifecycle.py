"""A run from its beginning to its end, as those who watch it are told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    ConnectionFailed,
    ContentFiltered,
    Event,
    IncompleteReply,
    LimitReached,
    Limits,
    Memory,
    Partial,
    PolicyContradiction,
    Price,
    RunFinished,
    RunStarted,
    SessionError,
    StepFinished,
    TextDelta,
    ToolCall,
    ToolChoice,
    ToolChoiceIgnored,
    ToolContext,
    ToolFinished,
    ToolMessage,
    Usage,
    UserMessage,
    tool,
)
from agentkit.core.chat import Choice
from agentkit.core.model import OnChunk
from agentkit.core.session import StoredConversation
from agentkit.tool_choice import force
from tests.endpoint import fault_in
from tests.scripted import Play, Scripted, called, said

pytestmark = pytest.mark.anyio

ADD = called(("add", {"a": 1, "b": 1}))
NOTHING = ToolChoice("required", tools=frozenset())


def add(a: int, b: int) -> int:
    return a + b


@tool(approval=True)
def pay() -> None: ...


def check(events: list[Event]) -> RunFinished:
    """Hold what one run told against what holds of every run, and give its end."""
    assert isinstance(events[0], RunStarted)
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert [type(each) for each in events].count(RunStarted) == 1
    assert [type(each) for each in events].count(RunFinished) == 1
    assert len({each.run_id for each in events}) == 1
    assert len(events[0].run_id) == 16
    return finished


def sound(error: BaseException) -> Partial:
    partial = getattr(error, "partial", None)
    assert isinstance(partial, Partial)
    assert fault_in([each.to_dict() for each in partial.messages]) is None
    return partial


@pytest.mark.parametrize(
    ("plays", "options", "stop"),
    [
        ([ADD, said("2")], {}, "answer"),
        ([ADD], {"stop_at": add}, "tool"),
        ([AssistantMessage(refusal="No.")], {}, "refusal"),
        ([said("")], {"max_corrections": 0}, "empty"),
        ([called(("pay", {}))], {}, "paused"),
        ([called(("final_answer", {"answer": 2}))], {"output": int}, "answer"),
        ([ADD, said("2")], {"limits": Limits(steps=1, at_end="answer")}, "limit"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_that_ends_well(plays: list[Play], options: Any, stop: str, *, streamed: bool) -> None:
    events: list[Event] = []
    agent = Agent(Scripted(*plays), tools=[add, pay], observers=[events.append], name="clerk", **options)
    if streamed:
        async with agent.stream("go") as run:
            assert [event async for event in run] == events
        result = run.result
    else:
        result = await agent.run("go")
    finished = check(events)
    assert events[0] == RunStarted("clerk", "scripted")
    assert finished == RunFinished(stop, result.usage)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert result.stop == stop
    assert result.usage.requests == len(result.steps)


class Filtered(Scripted):
    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        reply = await super().complete(request, on_chunk)
        return ChatResponse((Choice(reply.message, "content_filter"),), reply.usage)


class Lost(Memory):
    async def load(self) -> StoredConversation:
        raise SessionError("it is gone")


def choosing_nothing(_: object) -> ToolChoice:
    return NOTHING


def raising(error: BaseException) -> Callable[[object], Any]:
    def policy(_: object) -> str:
        raise error

    return policy


@pytest.mark.parametrize(
    ("make", "options", "given", "kind", "usage"),
    [
        (lambda: Scripted(ADD, ConnectionFailed("no")), {}, {}, ConnectionFailed, 1),
        (lambda: Scripted(ADD, RuntimeError("no")), {}, {}, RuntimeError, 1),
        (lambda: Scripted(ADD), {"limits": Limits(steps=1)}, {}, LimitReached, 1),
        (
            lambda: Scripted(said("2")),
            {"tool_choice": force(add), "stop_at": add, "corrections": 1},
            {},
            ToolChoiceIgnored,
            2,
        ),
        (lambda: Scripted(ADD), {"tool_choice": raising(ValueError("no")), "stop_at": add}, {}, ValueError, 0),
        (lambda: Scripted(ADD), {"tool_choice": choosing_nothing, "stop_at": add}, {}, PolicyContradiction, 0),
        (lambda: Scripted(ADD), {"prices": {"m": Price(1, 1)}, "limits": Limits(cost=1)}, {}, ConfigurationError, 1),
        (lambda: Filtered(said("2")), {}, {}, ContentFiltered, 1),
        (lambda: Scripted(said("2")), {}, {"session": Lost()}, SessionError, 0),
    ],
)
async def test_a_run_that_ends_by_an_error(make: Any, options: Any, given: Any, kind: Any, usage: int) -> None:
    events: list[Event] = []
    with pytest.raises(kind) as caught:
        await Agent(make(), tools=[add], observers=[events.append], **options).run("go", **given)
    finished = check(events)
    assert (finished.stop, finished.error) == (None, caught.value)
    assert finished.usage == sound(caught.value).usage
    assert finished.usage.requests == usage


async def test_a_cut_reply() -> None:
    class Cut(Scripted):
        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            reply = await super().complete(request, on_chunk)
            return ChatResponse((Choice(reply.message, "length"),), reply.usage)

    events: list[Event] = []
    with pytest.raises(IncompleteReply) as caught:
        await Agent(Cut(said("It is")), observers=[events.append]).run("go")
    assert check(events).error is caught.value
    assert sound(caught.value).messages[-1] != UserMessage("go")


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancellation(*, streamed: bool) -> None:
    begun = anyio.Event()

    async def never() -> None:
        begun.set()
        await anyio.sleep_forever()

    events: list[Event] = []
    raised: list[BaseException] = []
    agent = Agent(
        Scripted(ADD, called(("never", {}), ("add", {"a": 1}))), tools=[add, never], observers=[events.append]
    )

    async def running() -> None:
        try:
            if streamed:
                async with agent.stream("go") as run:
                    _ = [event async for event in run]
            else:
                await agent.run("go")
        except BaseException as error:
            raised.append(error)
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(running)
        await begun.wait()
        group.cancel_scope.cancel()
    finished = check(events)
    assert (finished.stop, finished.usage) == (None, Usage(2, 20, 10))
    assert isinstance(finished.error, anyio.get_cancelled_exc_class())
    partial = sound(finished.error)
    assert [each.outcome for each in partial.messages if isinstance(each, ToolMessage)] == ["ok", "cancelled", "error"]
    assert isinstance(raised[0], anyio.get_cancelled_exc_class())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled() -> None:
    begun = anyio.Event()

    class Hangs(Scripted):
        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            begun.set()
            await anyio.sleep_forever()
            raise AssertionError

    events: list[Event] = []
    task = asyncio.create_task(Agent(Hangs(), observers=[events.append]).run("go"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(check(events).error, asyncio.CancelledError)
    assert sound(caught.value).messages == (UserMessage("go"),)


async def test_the_id_of_a_run() -> None:
    ids: list[str] = []

    async def which(ctx: ToolContext[None]) -> None:
        ids.append(ctx.run_id)

    events: list[Event] = []
    agent = Agent(Scripted(called(("which", {})), said("ok")), tools=[which], observers=[events.append])
    async with agent.stream("go") as run:
        streamed = [event async for event in run]
    check(events)
    assert [each.run_id for each in streamed] == [ids[0]] * len(events)
    assert TextDelta("ok") in streamed
    events.clear()
    await agent.run("go")
    assert {each.run_id for each in events} != {ids[0]}


# ----------------------------------------------------------------------------------------------- observers that raise


class Fails:
    """An observer that raises at one event, or at each from there on."""

    def __init__(self, at: int, *, always: bool = False) -> None:
        self.at = at
        self.always = always
        self.error = RuntimeError("the observer")
        self.heard: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.heard.append(event)
        if len(self.heard) == self.at + 1 or (self.always and len(self.heard) > self.at):
            raise self.error if len(self.heard) == self.at + 1 else RuntimeError("again")


def watched(*observers: Callable[[Event], None]) -> Agent:
    return Agent(Scripted(ADD, said("2")), tools=[add], observers=observers)


async def played(agent: Agent, *, streamed: bool) -> None:
    if streamed:
        async with agent.stream("go") as run:
            _ = [event async for event in run]
    else:
        await agent.run("go")


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_events_of_a_run(*, streamed: bool) -> None:
    events: list[Event] = []
    await played(watched(events.append), streamed=streamed)
    assert len(events) == (9 if streamed else 8)


@pytest.mark.parametrize(("at", "streamed"), [*[(at, False) for at in range(8)], *[(at, True) for at in range(9)]])
@pytest.mark.parametrize("always", [False, True])
async def test_an_observer_that_raises(at: int, *, always: bool, streamed: bool) -> None:
    """Its error ends the run; all who watch are told the same, and the end once."""
    before: list[Event] = []
    after: list[Event] = []
    fails = Fails(at, always=always)
    with pytest.raises(RuntimeError) as caught:
        await played(watched(before.append, fails, after.append), streamed=streamed)
    assert caught.value is fails.error
    assert before == after == fails.heard
    finished = check(before)
    assert sound(caught.value).usage == finished.usage
    if at == (8 if streamed else 7):  # the very end, where all are told already how the run ended
        assert (len(before), finished.stop, finished.error) == (at + 1, "answer", None)
    else:
        assert (len(before), finished.stop, finished.error) == (at + 2, None, fails.error)


async def test_what_an_observer_raises_at_the_end_does_not_hide_the_error() -> None:
    def observer(event: Event) -> None:
        if isinstance(event, RunFinished):
            raise TypeError("the observer")

    events: list[Event] = []
    with pytest.raises(ConnectionFailed, match="no endpoint"):
        await Agent(Scripted(ConnectionFailed("no endpoint")), observers=[observer, events.append]).run("go")
    assert isinstance(check(events).error, ConnectionFailed)


async def test_an_error_without_room() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        text: str

    def observer(event: Event) -> None:
        if isinstance(event, StepFinished):
            raise Frozen("full")

    with pytest.raises(Frozen) as caught:
        await watched(observer).run("go")
    assert not hasattr(caught.value, "partial")


async def test_an_observer_that_raises_within_a_tool_ends_the_run() -> None:
    """Also where the tool catches it, and says that all is well."""

    async def careful(ctx: ToolContext[None]) -> str:
        try:
            ctx.progress(1)
        except RuntimeError:
            return "all is well"
        return "not told"

    fails = Fails(4)
    model = Scripted(called(("careful", {})), said("ok"))
    with pytest.raises(RuntimeError) as caught:
        await Agent(model, tools=[careful], observers=[fails]).run("go")
    assert caught.value is fails.error
    assert len(model.requests) == 1


async def test_calls_that_were_answered_stay_answered() -> None:
    both = called(("add", {"a": 1, "b": 1}), ("later", {}))
    ready = anyio.Event()

    async def later() -> str:
        await ready.wait()
        return "later"

    def observer(event: Event) -> None:
        if isinstance(event, ToolFinished):
            ready.set()
            if event.call.name == "later":
                raise RuntimeError("the observer")

    with pytest.raises(RuntimeError) as caught:
        await Agent(Scripted(both), tools=[add, later], observers=[observer]).run("go")
    answers = sound(caught.value).messages[2:]
    assert answers == (ToolMessage("c0", "2"), ToolMessage("c1", "later"))


async def test_an_answer_that_was_open_when_the_run_began() -> None:
    history = (UserMessage("go"), AssistantMessage(tool_calls=(ToolCall("c0", "add", '{"a": 1, "b": 1}'),)))
    events: list[Event] = []
    with pytest.raises(ConnectionFailed) as caught:
        await Agent(Scripted(ConnectionFailed("no")), tools=[add], observers=[events.append]).run(history)
    assert sound(caught.value).messages == (*history, ToolMessage("c0", "2"))
    check(events)
