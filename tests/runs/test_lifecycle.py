import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest

from agentkit import Agent, Depends, Limits, Memory, Price, State, Tool, ToolChoice, ToolContext, tool
from agentkit.core import errors
from agentkit.core.chat import ChatRequest, ChatResponse, Choice
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.core.session import StoredConversation
from agentkit.runs.events import Event, RunFinished, RunStarted, StepFinished
from agentkit.tool_choice import force, permitted
from tests.endpoint import fault_in
from tests.scripted import Play, Scripted, called, said

pytestmark = pytest.mark.anyio
one_backend = pytest.mark.parametrize("anyio_backend", ["asyncio"])

ADD = called(("add", {"a": 1, "b": 1}))
NOTHING = ToolChoice("required", tools=frozenset())


def add(a: int, b: int) -> int:
    return a + b


@tool(approval=True)
def pay() -> None: ...


def check(events: list[Event]) -> RunFinished:
    """Check what holds of the events of every run, and return the last."""
    assert isinstance(events[0], RunStarted)
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert [type(event) for event in events].count(RunStarted) == 1
    assert [type(event) for event in events].count(RunFinished) == 1
    assert len({event.run_id for event in events}) == 1
    assert len(events[0].run_id) == 16
    return finished


def sound(error: BaseException) -> errors.Partial:
    partial = getattr(error, "partial", None)
    assert isinstance(partial, errors.Partial)
    assert fault_in([message.to_dict() for message in partial.messages]) is None
    return partial


async def played(agent: Agent, *, streamed: bool) -> None:
    if not streamed:
        await agent.run("go")
        return
    async with agent.stream("go") as run:
        async for _ in run:
            await anyio.lowlevel.checkpoint()


@one_backend
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
    assert events[0] == RunStarted("clerk", "scripted", streamed=streamed)
    assert finished == RunFinished(stop, result.usage)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert result.stop == stop
    assert result.usage.requests == len(result.steps)


class Ended(Scripted):
    """Its replies end for another reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(said("It is"))
        self.reason = reason

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        reply = await super().complete(request, on_chunk)
        return ChatResponse((Choice(reply.message, self.reason),), reply.usage)


class Lost(Memory):
    async def load(self) -> StoredConversation:
        raise errors.SessionError("it is gone")


def choosing_nothing(_: object) -> ToolChoice:
    return NOTHING


def raising(_: object) -> str:
    raise ValueError


@pytest.mark.parametrize(
    ("plays", "options", "session", "kind", "usage"),
    [
        ([ADD, errors.ConnectionFailed("no")], {}, None, errors.ConnectionFailed, 1),
        ([ADD, RuntimeError("no")], {}, None, RuntimeError, 1),
        ([ADD], {"limits": Limits(steps=1)}, None, errors.LimitReached, 1),
        (
            [said("2")],
            {"tool_choice": force(add), "stop_at": add, "max_corrections": 1},
            None,
            errors.ToolChoiceIgnored,
            2,
        ),
        ([ADD], {"tool_choice": raising, "stop_at": add}, None, errors.PolicyError, 0),
        ([ADD], {"tool_choice": choosing_nothing, "stop_at": add}, None, errors.PolicyContradiction, 0),
        ([ADD], {"prices": {"m": Price(1, 1)}, "limits": Limits(cost=1)}, None, errors.ConfigurationError, 1),
        ("content_filter", {}, None, errors.ContentFiltered, 1),
        ("length", {}, None, errors.IncompleteReply, 1),
        ([said("2")], {}, Lost(), errors.SessionError, 0),
    ],
)
@one_backend
async def test_a_run_that_ends_by_an_error(plays: Any, options: Any, session: Any, kind: Any, usage: int) -> None:
    events: list[Event] = []
    model = Ended(plays) if isinstance(plays, str) else Scripted(*plays)
    with pytest.raises(kind) as caught:
        await Agent(model, tools=[add], observers=[events.append], **options).run("go", session=session)
    finished = check(events)
    assert (finished.stop, finished.error) == (None, caught.value)
    assert finished.usage == sound(caught.value).usage
    assert finished.usage.requests == usage


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
            await played(agent, streamed=streamed)
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
    assert outcomes(partial) == ["ok", "cancelled", "error"]
    assert isinstance(raised[0], anyio.get_cancelled_exc_class())


async def stays() -> None:
    await anyio.sleep_forever()


async def swallows() -> str:
    """Takes no notice of the first cancellation."""
    with contextlib.suppress(anyio.get_cancelled_exc_class()):
        await anyio.sleep_forever()
    await anyio.sleep_forever()
    raise AssertionError


RELEASE = threading.Event()


def holds() -> None:
    RELEASE.wait(120)


@pytest.fixture
def release() -> Iterator[None]:
    """Lets the threads go that a test left behind."""
    RELEASE.clear()
    yield
    RELEASE.set()


class Hangs(Scripted):
    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        await anyio.sleep_forever()
        raise AssertionError


def outcomes(partial: errors.Partial) -> list[str]:
    return [message.outcome for message in partial.messages if isinstance(message, ToolMessage)]


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("calls", [["stays"], ["holds"], ["swallows"], ["add", "stays", "holds", "swallows"], []])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_ends_when_its_time_is_up(calls: list[str], *, streamed: bool) -> None:
    arguments = {"add": {"a": 1, "b": 1}}
    model = Scripted(called(*[(name, arguments.get(name, {})) for name in calls])) if calls else Hangs()
    agent = Agent(model, tools=[add, stays, holds, swallows], limits=Limits(seconds=0.2))
    with anyio.fail_after(60), pytest.raises(errors.LimitReached) as caught:
        await played(agent, streamed=streamed)
    assert (caught.value.limit, caught.value.allowed) == ("seconds", 0.2)
    assert outcomes(sound(caught.value)) == ["ok" if name == "add" else "cancelled" for name in calls]


async def test_a_partial_history_can_be_continued() -> None:
    agent = Agent(Scripted(ADD, errors.ConnectionFailed("down"), said("2")), tools=[add])
    with pytest.raises(errors.ConnectionFailed) as caught:
        await agent.run("go")
    partial = sound(caught.value)
    assert (outcomes(partial), partial.usage.requests) == (["ok"], 1)
    assert (await agent.run(partial.messages)).output == "2"


class Fails:
    """An observer that raises at one event, or at each from there on."""

    def __init__(self, at: int, *, always: bool = False) -> None:
        self.at = at
        self.always = always
        self.error = RuntimeError("the observer")
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) == self.at + 1 or (self.always and len(self.events) > self.at):
            raise self.error if len(self.events) == self.at + 1 else RuntimeError("again")


def watched(*observers: Callable[[Event], None]) -> Agent:
    return Agent(Scripted(ADD, said("2")), tools=[add], observers=observers)


@pytest.mark.parametrize(("at", "streamed"), [*[(at, False) for at in range(8)], (2, True), (8, True)])
@pytest.mark.parametrize("always", [False, True])
async def test_an_observer_that_raises(at: int, *, always: bool, streamed: bool) -> None:
    """Its error ends the run; all who watch are told the same, and the end once."""
    before, after, fails = list[Event](), list[Event](), Fails(at, always=always)
    with pytest.raises(RuntimeError) as caught:
        await played(watched(before.append, fails, after.append), streamed=streamed)
    assert caught.value is fails.error
    assert before == after == fails.events
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
    with pytest.raises(errors.ConnectionFailed, match="no endpoint"):
        await Agent(Scripted(errors.ConnectionFailed("no endpoint")), observers=[observer, events.append]).run("go")
    assert isinstance(check(events).error, errors.ConnectionFailed)


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


async def test_an_answer_that_was_open_when_the_run_began() -> None:
    history = (UserMessage("go"), AssistantMessage(tool_calls=(ToolCall("c0", "add", '{"a": 1, "b": 1}'),)))
    events: list[Event] = []
    with pytest.raises(errors.ConnectionFailed) as caught:
        await Agent(Scripted(errors.ConnectionFailed("no")), tools=[add], observers=[events.append]).run(history)
    assert sound(caught.value).messages == (*history, ToolMessage("c0", "2"))
    check(events)


async def test_policies_see_who_asks() -> None:
    seen: list[object] = []

    def allows(deps: object, of: Tool) -> bool:
        seen.append(deps)
        return of.name != "add" or deps == "admin"

    model = Scripted(called(("add", {"a": 1, "b": 2})), said("done"), said("no"))
    agent = Agent(model, tools=[add], tool_choice=permitted(allows), deps_type=str)
    result = await agent.run("go", deps="admin")
    assert [record.outcome for record in State.of(result.messages).calls] == ["ok"]
    assert set(seen) == {"admin"}
    await agent.run("go", deps="guest")
    assert [request.tool_choice.mode for request in model.requests] == ["auto", "auto", "none"]


SAVE = called(("save", {}))


@pytest.mark.parametrize(("plays", "options", "outcome"), [
    ([SAVE, said("done")], {}, "committed"),
    ([SAVE, AssistantMessage(refusal="No.")], {}, "committed"),
    ([SAVE, errors.ConnectionFailed("lost")], {}, errors.ConnectionFailed),
    ([SAVE], {"limits": Limits(steps=1)}, errors.LimitReached),
    ([SAVE, AssistantMessage(refusal="No.")], {"output": int, "output_mode": "format"}, errors.AnswerInvalid),
    ([called(("save", {}), ("wait", {}))], {"limits": Limits(seconds=0.2)}, errors.LimitReached),
])  # fmt: skip
async def test_a_transaction_commits_only_if_the_run_ends_well(
    plays: list[Play], options: Any, outcome: object
) -> None:
    # tiangolo/fastapi#869
    log: list[object] = []

    def transaction() -> Iterator[list[object]]:
        try:
            yield log
        except BaseException as error:
            log.append(type(error))
            raise
        log.append("committed")

    def save(into: Annotated[list[object], Depends(transaction)]) -> str:
        return f"{len(into)} before"

    async def wait() -> None:
        await anyio.sleep_forever()

    with contextlib.suppress(errors.AgentkitError):
        await Agent(Scripted(*plays), tools=[save, wait], **options).run("go")
    assert log == [outcome]


async def test_a_transaction_is_rolled_back_where_the_run_is_cancelled() -> None:
    log: list[type[BaseException]] = []

    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            log.append(type(error))
            raise

    async def wait(_into: Annotated[None, Depends(transaction)]) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await Agent(Scripted(called(("wait", {}))), tools=[wait]).run("go")
    assert log == [anyio.get_cancelled_exc_class()]
