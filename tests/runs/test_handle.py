import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterator

import anyio
import anyio.lowlevel
import pytest
import trio

from agentkit import (
    Agent,
    AgentkitError,
    AssistantMessage,
    ChatClient,
    ChatRequest,
    ChatResponse,
    Event,
    ImagePart,
    LimitReached,
    Limits,
    ModelError,
    Partial,
    RateLimited,
    Run,
    RunCancelled,
    RunFinished,
    State,
    ToolFinished,
    ToolMessage,
    ToolStarted,
    UserMessage,
)
from agentkit.core.model import OnChunk
from agentkit.runs.handle import run_blocking
from agentkit.testing import Raw, calling, chaos, status
from tests.endpoint import fault_in
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


def add(a: int, b: int) -> int:
    return a + b


async def never() -> None:
    await anyio.sleep_forever()


def valid(partial: Partial | None) -> bool:
    return partial is not None and fault_in([message.to_dict() for message in partial.messages]) is None


async def test_leaving_the_block_stops_the_run_and_keeps_what_it_had() -> None:
    agent = Agent(Scripted(called(("add", {"a": 1, "b": 1}), ("never", {})), said("done")), tools=[add, never])
    async with agent.stream("go") as run:
        async for event in run:
            if isinstance(event, ToolStarted) and event.call.name == "never":
                break
    with pytest.raises(RunCancelled) as caught:
        _ = run.result
    partial = caught.value.partial
    assert valid(partial)
    assert partial is not None
    answers = [message for message in partial.messages if isinstance(message, ToolMessage)]
    assert [answer.outcome for answer in answers][1] == "cancelled"


async def test_the_result_is_not_there_before_the_end() -> None:
    async with Agent(Scripted(said("hi"))).stream("go") as run:
        with pytest.raises(RunCancelled, match="not at its end"):
            _ = run.result
        events = [event async for event in run]
        assert [event async for event in run] == []
    assert run.result.output == "hi"
    assert isinstance(events[-1], RunFinished)


async def test_what_ends_the_run_is_raised_where_it_is_read() -> None:
    async with Agent(Scripted(ModelError("down"))).stream("go") as run:
        with pytest.raises(ModelError, match="down"):
            async for _ in run:
                pass
    with pytest.raises(ModelError, match="down") as caught:
        _ = run.result
    assert valid(caught.value.partial)


async def test_what_is_raised_in_the_block_leaves_it_as_it_is() -> None:
    with pytest.raises(KeyError) as caught:
        async with Agent(Scripted(said("hi"))).stream("go"):
            raise KeyError("mine")
    assert caught.value.args == ("mine",)


async def test_several_errors_in_the_block_stay_a_group() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Agent(Scripted(said("hi"))).stream("go"):
            raise ExceptionGroup("several", [KeyError("a"), KeyError("b")])
    assert len(caught.value.exceptions) == 2


async def test_an_error_of_ours_carries_what_the_run_had_done() -> None:
    agent = Agent(Scripted(called(("add", {"a": 1, "b": 1})), ModelError("down")), tools=[add])
    with pytest.raises(AgentkitError) as caught:
        await agent.run("go")
    partial = caught.value.partial
    assert partial is not None
    assert [type(message) for message in partial.messages] == [UserMessage, AssistantMessage, ToolMessage]
    assert partial.usage.requests == 1


async def test_a_partial_history_can_be_continued() -> None:
    model = Scripted(called(("add", {"a": 1, "b": 1})), ModelError("down"), said("2"))
    agent = Agent(model, tools=[add])
    with pytest.raises(AgentkitError) as caught:
        await agent.run("go")
    assert caught.value.partial
    assert (await agent.run(caught.value.partial.messages)).output == "2"


async def test_cancelling_is_prompt_and_tells_what_was_done() -> None:
    started = anyio.Event()
    watching = Agent(
        Scripted(called(("never", {})), said("done")),
        tools=[never],
        observers=[lambda event: started.set() if isinstance(event, ToolStarted) else None],
    )
    caught: list[BaseException] = []

    async def run() -> None:
        try:
            await watching.run("go")
        except anyio.get_cancelled_exc_class() as cancelled:
            caught.append(cancelled)
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await started.wait()
        group.cancel_scope.cancel()
    assert valid(getattr(caught[0], "partial", None))


async def test_a_blocking_tool_does_not_hold_up_a_cancellation() -> None:
    release = threading.Event()
    started = anyio.Event()

    def hold() -> None:
        release.wait(120)

    agent = Agent(
        Scripted(called(("hold", {})), said("done")),
        tools=[hold],
        observers=[lambda event: started.set() if isinstance(event, ToolStarted) else None],
    )
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(agent.run, "go")
            await started.wait()
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    release.set()


async def test_several_streams_at_once_do_not_mix() -> None:
    agent = Agent(Scripted(lambda request: said(str(request.messages[0].to_dict()["content"]))))
    outputs: list[str] = []

    async def watch(prompt: str) -> None:
        async with agent.stream(prompt) as run:
            async for _ in run:
                await anyio.lowlevel.checkpoint()
        outputs.append(run.result.output)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(watch, f"prompt {number}")
    assert sorted(outputs) == sorted(f"prompt {number}" for number in range(20))


def inside_asyncio(function: Callable[[], Awaitable[int]]) -> int:
    async def outer() -> int:
        return run_blocking(function)

    return asyncio.run(outer())


def inside_trio(function: Callable[[], Awaitable[int]]) -> int:
    async def outer() -> int:
        return run_blocking(function)

    return trio.run(outer)


@pytest.mark.parametrize("call", [run_blocking, inside_asyncio, inside_trio])
def test_blocking_gives_back_what_comes_out(call: Callable[[Callable[[], Awaitable[int]]], int]) -> None:
    async def value() -> int:
        await anyio.lowlevel.checkpoint()
        return 5

    assert call(value) == 5


def test_blocking_keeps_the_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("kept")

    async def read() -> str:
        return variable.get()

    async def outer() -> str:
        return run_blocking(read)

    assert run_blocking(read) == "kept"
    assert asyncio.run(outer()) == "kept"


def test_blocking_raises_what_is_raised() -> None:
    async def fail() -> None:
        raise KeyError("mine")

    async def outer() -> None:
        run_blocking(fail)

    with pytest.raises(KeyError):
        run_blocking(fail)
    with pytest.raises(KeyError):
        asyncio.run(outer())


NO_REPLY = Raw(status=None, then="stall")


async def stays() -> None:
    await anyio.sleep_forever()


async def swallows() -> str:
    """Takes no notice of the first cancellation."""
    with contextlib.suppress(anyio.get_cancelled_exc_class()):
        await anyio.sleep_forever()
    await anyio.sleep_forever()
    raise AssertionError


def holds() -> None:
    RELEASE.wait(120)


RELEASE = threading.Event()


@pytest.fixture
def release() -> Iterator[None]:
    """Lets the threads go that a test left behind."""
    RELEASE.clear()
    yield
    RELEASE.set()


def out_of_time(error: LimitReached, seconds: float) -> None:
    assert (error.limit, error.allowed) == ("seconds", seconds)
    assert str(error) == (
        f"the run took more than {seconds} s; the history so far is in this error's `partial`. If the task needs more, "
        "allow it: Agent(…, limits=Limits(seconds=…))"
    )
    assert valid(error.partial)


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize("calls", [["stays"], ["holds"], ["swallows"], ["add", "stays", "holds", "swallows"]])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_ends_when_its_time_is_over_whatever_its_tools_do(calls: list[str], *, streamed: bool) -> None:
    given = {"add": {"a": 1, "b": 1}}
    model = Scripted(called(*[(name, given.get(name, {})) for name in calls]), said("done"))
    agent = Agent(model, tools=[add, stays, holds, swallows], limits=Limits(seconds=0.3))
    with anyio.fail_after(60), pytest.raises(LimitReached) as caught:
        await played(agent, [], streamed=streamed)
    out_of_time(caught.value, 0.3)
    assert caught.value.partial
    answers = [message for message in caught.value.partial.messages if isinstance(message, ToolMessage)]
    assert [answer.outcome for answer in answers] == ["ok" if name == "add" else "cancelled" for name in calls]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_ends_when_its_time_is_over_within_a_request(*, streamed: bool) -> None:
    with chaos(NO_REPLY) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[add], limits=Limits(seconds=0.3))
        with anyio.fail_after(60), pytest.raises(LimitReached) as caught:
            await played(agent, [], streamed=streamed)
    out_of_time(caught.value, 0.3)
    assert caught.value.partial
    assert caught.value.partial.messages == (UserMessage("go"),)


async def test_a_run_ends_when_its_time_is_over_between_two_requests() -> None:
    class Backoff(Scripted):
        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            await anyio.sleep_forever()
            raise AssertionError

    with anyio.fail_after(60), pytest.raises(LimitReached) as caught:
        await Agent(Backoff(), limits=Limits(seconds=0.2)).run("go")
    out_of_time(caught.value, 0.2)


async def test_a_retry_that_would_come_too_late_is_not_waited_for() -> None:
    with chaos(calling(("add", {"a": 1, "b": 1})), status(429, {"retry-after": "60"})) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url), tools=[add], limits=Limits(seconds=30))
        with anyio.fail_after(60), pytest.raises(RateLimited) as caught:
            await agent.run("go")
    assert valid(caught.value.partial)


@pytest.mark.parametrize(("outer", "inner"), [(0.2, 60), (60, 0.2)])
async def test_an_outer_time_and_that_of_the_run(outer: float, inner: float) -> None:
    agent = Agent(Scripted(called(("stays", {})), said("done")), tools=[stays], limits=Limits(seconds=inner))
    caught: list[BaseException] = []
    with anyio.move_on_after(outer) as scope:
        try:
            await agent.run("go")
        except BaseException as error:
            caught.append(error)
            if not isinstance(error, Exception):
                raise
    assert scope.cancelled_caught is (outer < inner)
    assert isinstance(caught[0], LimitReached) is (outer > inner)
    assert valid(vars(caught[0])["partial"])


async def test_a_run_in_time_is_not_ended() -> None:
    for seconds in (10, None):
        model = Scripted(called(("add", {"a": 1, "b": 1})), said("2"))
        assert (await Agent(model, tools=[add], limits=Limits(seconds=seconds)).run("go")).output == "2"


def pictures() -> list[object]:
    return ["two", ImagePart("https://a.b/c.png")]


def long() -> str:
    return "x" * 500


def must(state: State) -> str:
    return "required" if len(state.steps) < 2 else "auto"


PLAYS = [
    called(("add", {"a": 1, "b": 1}), ("pictures", {}), ("add", {"a": 2})),
    said("not yet"),
    called(("long", {}), ("unknown", {})),
    AssistantMessage(),
    called(("pictures", {})),
    said("done"),
]


async def partial_of_one_cancelled_at(number: int, events: list[Event], *, streamed: bool) -> Partial | None:
    """Run, and cancel at an event; give what the run had done if it was cancelled before its end."""
    scope = anyio.CancelScope()
    runs: list[Run[str]] = []

    def observer(event: Event) -> None:
        events.append(event)
        if len(events) > number:
            scope.cancel()

    agent = Agent(
        Scripted(*PLAYS), tools=[add, pictures, long], tool_choice=must, observers=[observer], limits=Limits(result=100)
    )
    partials: list[Partial] = []
    with scope:
        try:
            await played(agent, runs, streamed=streamed)
        except anyio.get_cancelled_exc_class() as error:
            partials += [vars(error)["partial"]] if "partial" in vars(error) else []
            raise
    for run in runs:
        with contextlib.suppress(RunCancelled):
            assert run.result.output == "done"
            return None
        with pytest.raises(RunCancelled) as caught:
            _ = run.result
        return caught.value.partial
    return partials[0] if partials else None


async def played(agent: Agent, runs: list[Run[str]], *, streamed: bool) -> None:
    if not streamed:
        await agent.run("go")
        return
    async with agent.stream("go") as run:
        runs.append(run)
        async for _ in run:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("streamed", [False, True])
async def test_wherever_a_run_is_cancelled_its_history_is_valid(*, streamed: bool) -> None:
    found: list[Partial] = []
    number = 0
    for number in range(100):
        events: list[Event] = []
        partial = await partial_of_one_cancelled_at(number, events, streamed=streamed)
        if len(events) <= number:
            break
        if partial is not None:
            found.append(partial)
            assert valid(partial)
            # As it would be sent when it is gone on with.
            assert valid(Partial(State.of(partial.messages).messages, partial.usage))
    assert 20 < number < 100
    assert len(found) > 10


class Rigid(Exception):
    """It has no room for what a run had done."""

    @property
    def partial(self) -> None:
        return None


@pytest.mark.parametrize("error", [KeyError("mine"), Rigid("mine")])
async def test_an_observer_s_own_error_tells_what_was_done_if_it_can(error: Exception) -> None:
    def observer(event: Event) -> None:
        if isinstance(event, ToolFinished):
            raise error

    agent = Agent(
        Scripted(called(("add", {"a": 1, "b": 1}), ("add", {"a": 2, "b": 2}))), tools=[add], observers=[observer]
    )
    with pytest.raises(type(error)) as caught:
        await agent.run("go")
    assert caught.value is error
    if isinstance(error, KeyError):
        partial: Partial = vars(error)["partial"]
        assert valid(partial)
        answers = [message for message in partial.messages if isinstance(message, ToolMessage)]
        assert len(answers) == 2
        assert "ok" in [answer.outcome for answer in answers]


def test_a_thousand_turns() -> None:
    turns = 1000

    def play(request: object) -> AssistantMessage:
        count = len(model.requests)
        return called(("add", {"a": count, "b": 1})) if count <= turns else said("done")

    model = Scripted(play)
    result = Agent(model, tools=[add], limits=Limits(steps=turns + 1, requests=None, calls=None)).run_sync("go")
    assert len(result.steps) == turns + 1
    with pytest.raises(LimitReached):
        Agent(Scripted(called(("add", {"a": 1, "b": 1}))), tools=[add], max_repeats=None).run_sync("go")
