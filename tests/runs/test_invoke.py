import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any

import anyio
import anyio.to_thread
import pytest

from agentkit import Agent, Event, Memory, SessionError, Tool, ToolMessage, ToolProgress, ToolStarted, tool
from agentkit.core.session import Entry, Started
from agentkit.runs.invoke import Turn
from tests.runs.test_tool_calls import NOTHING, add, add_async, answers_of, of_kind
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


class Adder:
    def __init__(self, more: int) -> None:
        self.more = more

    def method(self, a: int) -> int:
        return a + self.more

    async def async_method(self, a: int) -> int:
        return a + self.more

    def __call__(self, a: int) -> int:
        return a + self.more


async def later(a: int) -> int:
    return a


def indirect(a: int) -> Awaitable[int]:
    return later(a)


def echo(**arguments: object) -> dict[str, object]:
    return arguments


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (add, {"a": 1, "b": 2}, "3"),
        (add_async, {"a": 1, "b": 2}, "3"),
        (Adder(5).method, {"a": 1}, "6"),
        (Adder(5).async_method, {"a": 1}, "6"),
        (Tool.of(Adder(5), name="adder"), {"a": 1}, "6"),
        (Tool.of(indirect, name="indirect"), {"a": 7}, "7"),
        (Tool.from_schema(echo, name="raw", description="", parameters={"type": "object"}), {"x": [1]}, '{"x":[1]}'),
    ],
)
async def test_every_kind_of_callable_runs(function: Any, arguments: dict[str, Any], expected: str) -> None:
    name = Tool.of(function).name
    assert (await answers_of((name, arguments), tools=[function]))[0] == [("ok", expected)]


async def test_a_generator_tells_its_progress() -> None:
    def count(to: int) -> Iterator[int]:
        yield from range(1, to + 1)

    async def count_async(to: int) -> AsyncIterator[int]:
        for number in range(1, to + 1):
            yield number

    def with_result() -> Any:
        yield "working"
        return "the result"

    def nothing() -> Iterator[int]:
        yield from ()

    answers, events = await answers_of(
        ("count", {"to": 3}),
        ("count_async", {"to": 2}),
        ("with_result", NOTHING),
        ("nothing", NOTHING),
        tools=[count, count_async, with_result, nothing],
    )
    assert answers == [("ok", "3"), ("ok", "2"), ("ok", "the result"), ("ok", "null")]
    values: dict[str, list[object]] = {event.call.name: [] for event in of_kind(ToolStarted, events)}
    for event in of_kind(ToolProgress, events):
        values[event.call.name].append(event.value)
    assert values == {"count": [1, 2, 3], "count_async": [1, 2], "with_result": ["working"], "nothing": []}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_inside_a_tool_is_its_own() -> None:
    async def cancels_its_own_task() -> None:
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task

    def raises_in_its_thread() -> None:
        raise asyncio.CancelledError

    for name in ("cancels_its_own_task", "raises_in_its_thread"):
        made = [(name, NOTHING), ("add", {"a": 1, "b": 1})]
        answers, _ = await answers_of(*made, tools=[cancels_its_own_task, raises_in_its_thread, add])
        assert answers == [("error", "CancelledError"), ("ok", "2")]
        assert (await answers_of(made[0], tools=[cancels_its_own_task, raises_in_its_thread]))[0] == answers[:1]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_cancellation_of_another_kind_is_an_error_like_others() -> None:
    async def odd() -> None:
        raise asyncio.CancelledError

    assert (await answers_of(("odd", NOTHING), tools=[odd]))[0] == [("error", "CancelledError")]


async def test_a_tool_that_takes_no_notice_of_its_cancellation_is_ended_at_its_next_wait() -> None:
    noticed: list[str] = []

    @tool(timeout=0.2)
    async def goes_on() -> str:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            noticed.append("once")
        try:
            await anyio.sleep_forever()
        finally:
            noticed.append("twice")
        raise AssertionError

    with anyio.fail_after(60):
        answers, _ = await answers_of(("goes_on", NOTHING), ("add", {"a": 1, "b": 1}), tools=[goes_on, add])
    assert answers == [("error", "goes_on did not finish in 0.2 s"), ("ok", "2")]
    assert noticed == ["once", "twice"]


def passed_on(function: Any) -> Any:
    @functools.wraps(function)
    def call(**arguments: Any) -> Any:
        return function(**arguments)

    return call


def awaited(function: Any) -> Any:
    @functools.wraps(function)
    async def call(**arguments: Any) -> Any:
        return function(**arguments)

    return call


async def test_a_generator_behind_a_decorator_tells_its_progress() -> None:
    # tiangolo/fastapi#1204
    def one(to: int) -> Iterator[int]:
        yield from range(to)

    async def two(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def three(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    def four(to: int) -> Iterator[int]:
        return one(to)

    tools = [passed_on(one), passed_on(two), awaited(three), four]
    answers, events = await answers_of(*[(tool.__name__, {"to": 3}) for tool in tools], tools=tools)
    assert answers == [("ok", "2"), ("ok", "2"), ("ok", "2"), ("ok", "[0,1,2]")]
    assert len(of_kind(ToolProgress, events)) == 9


async def test_a_generator_that_took_too_long_tells_nothing_more_and_ends() -> None:
    release, ended = threading.Event(), threading.Event()

    @tool(timeout=1)
    def slow() -> Iterator[str]:
        try:
            yield "in time"
            release.wait(120)
            yield "too late"
            raise AssertionError
        finally:
            ended.set()

    @tool(timeout=0.2)
    async def slow_async() -> AsyncIterator[str]:
        yield "in time"
        await anyio.sleep_forever()
        yield "too late"

    async def after() -> str:
        release.set()
        assert await anyio.to_thread.run_sync(ended.wait, 60)
        return "done"

    events: list[Event] = []
    model = Scripted(called(("slow", NOTHING), ("slow_async", NOTHING)), called(("after", NOTHING)), said("done"))
    result = await Agent(model, tools=[slow, slow_async, after], observers=[events.append]).run("go")
    answers = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert answers == ["slow did not finish in 1 s", "slow_async did not finish in 0.2 s", "done"]
    assert [event.value for event in of_kind(ToolProgress, events)] == ["in time", "in time"]


class Halt(BaseException):
    """What is no exception, such as an interrupt."""


async def test_what_is_no_exception_ends_the_run() -> None:
    def halt() -> None:
        raise Halt

    with pytest.raises(Halt):
        await Agent(Scripted(called(("halt", {}))), tools=[halt]).run("go")


def test_a_sync_function_waits_until_the_one_before_it_has_begun() -> None:
    begun: list[int] = []
    events = [threading.Event() for _ in range(4)]
    turns = [Turn(events[at - 1] if at else None, event) for at, event in enumerate(events)]

    def begin(at: int) -> None:
        turns[at].take()
        begun.append(at)

    threads = [threading.Thread(target=begin, args=(at,)) for at in (3, 2, 1)]
    for thread in threads:
        thread.start()
    assert begun == []
    begin(0)
    for thread in threads:
        thread.join()
    assert sorted(begun) == [0, 1, 2, 3]


async def test_the_calls_of_a_reply_begin_in_order() -> None:
    begun: list[int] = []

    @tool
    def note(a: int) -> int:
        begun.append(a)
        return a

    @tool
    def notes(a: int) -> Iterator[int]:
        begun.append(a)
        yield a

    calls = called(*[("note" if a % 2 else "notes", {"a": a}) for a in range(6)])
    for _ in range(10):
        begun.clear()
        await Agent(Scripted(calls, said("done")), tools=[note, notes, add_async]).run("go")
        assert begun == sorted(begun)


async def test_a_call_that_cannot_begin_holds_nobody_up() -> None:
    """Its start cannot be stored, so the run fails; the function after it must not wait for it for ever."""

    class Broken(Memory):
        async def append(self, entries: Sequence[Entry]) -> None:
            if isinstance(entries[0], Started):
                raise SessionError("full")
            await super().append(entries)

    @tool(effect="once")
    def first(a: int) -> int:
        return a

    model = Scripted(called(("first", {"a": 1}), ("add", {"a": 1, "b": 2})), said("done"))
    with anyio.fail_after(60), pytest.raises(SessionError):
        await Agent(model, tools=[first, add]).run("go", session=Broken())
