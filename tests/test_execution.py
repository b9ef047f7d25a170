import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    CallMended,
    Event,
    Tool,
    ToolError,
    ToolFinished,
    ToolMessage,
    ToolProgress,
    ToolStarted,
    tool,
)
from tests.scripted import Scripted, called, said

pytestmark = pytest.mark.anyio


async def answers_of(
    *calls: tuple[str, Any], tools: list[Callable[..., Any] | Tool], **options: Any
) -> tuple[list[tuple[str, str]], list[Event]]:
    """Run the calls of one reply; give the outcome and the text of each answer, and the events."""
    events: list[Event] = []
    model = Scripted(called(*calls), said("done"))
    result = await Agent(model, tools=tools, observers=[events.append], **options).run("go")
    messages = [message for message in result.messages if isinstance(message, ToolMessage)]
    assert [message.tool_call_id for message in messages] == [f"c{at}" for at in range(len(calls))]
    return [(message.outcome, message.content) for message in messages], events


T = TypeVar("T")


def of_kind(kind: type[T], events: list[Event]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def add(a: int, b: int) -> int:
    return a + b


async def add_async(a: int, b: int) -> int:
    await anyio.lowlevel.checkpoint()
    return a + b


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


def echo(**given: object) -> dict[str, object]:
    return given


NOTHING: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (add, {"a": 1, "b": 2}, "3"),
        (add_async, {"a": 1, "b": 2}, "3"),
        (Adder(5).method, {"a": 1}, "6"),
        (Adder(5).async_method, {"a": 1}, "6"),
        (Tool.of(Adder(5), name="adder"), {"a": 1}, "6"),
        (Tool.of(indirect, name="indirect"), {"a": 7}, "7"),
        (
            Tool.from_schema(echo, name="raw", description="", parameters={"type": "object"}),
            {"x": [1]},
            '{"x":[1]}',
        ),
    ],
)
async def test_every_kind_of_callable_runs(function: Any, arguments: dict[str, Any], expected: str) -> None:
    name = Tool.of(function).name
    assert (await answers_of((name, arguments), tools=[function]))[0] == [("ok", expected)]


async def test_arguments_arrive_as_the_annotated_types() -> None:
    class Point(BaseModel):
        x: int
        y: int = 0

    seen: list[object] = []

    def draw(points: list[Point], tags: set[str]) -> None:
        seen.extend([points, tags])

    await answers_of(("draw", {"points": [{"x": 1}], "tags": ["a", "a"]}), tools=[draw])
    assert seen == [[Point(x=1, y=0)], {"a"}]


async def test_calls_run_at_once_and_are_answered_in_order() -> None:
    started = anyio.Event()
    finished: list[str] = []

    async def first() -> str:
        await started.wait()  # would never come if the calls ran one after another
        finished.append("first")
        return "1"

    async def second() -> str:
        started.set()
        finished.append("second")
        return "2"

    answers, _ = await answers_of(("first", NOTHING), ("second", NOTHING), tools=[first, second])
    assert answers == [("ok", "1"), ("ok", "2")]
    assert finished == ["second", "first"]


async def test_sync_tools_run_at_once_in_threads_and_leave_the_loop_free() -> None:
    barrier = threading.Barrier(3)

    def meet(number: int) -> int:
        barrier.wait(5)
        return number

    async def loop_is_free() -> str:
        await anyio.to_thread.run_sync(barrier.wait, 5)
        return "yes"

    answers, _ = await answers_of(
        ("meet", {"number": 1}), ("meet", {"number": 2}), ("loop_is_free", NOTHING), tools=[meet, loop_is_free]
    )
    assert answers == [("ok", "1"), ("ok", "2"), ("ok", "yes")]


async def test_the_agent_says_how_many_threads() -> None:
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def work() -> None:
        with lock:
            running.append(1)
            most.append(len(running))
        time.sleep(0.01)  # holds the thread; nothing waits for a time here
        with lock:
            running.pop()

    await answers_of(*[("work", NOTHING)] * 8, tools=[work], threads=2)
    assert max(most) <= 2


async def test_a_sequential_tool_runs_alone() -> None:
    log: list[str] = []

    async def read(name: str) -> str:
        log.append(f"begin {name}")
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        log.append(f"end {name}")
        return name

    @tool(sequential=True)
    async def write() -> str:
        log.append("begin write")
        await anyio.lowlevel.checkpoint()
        log.append("end write")
        return "written"

    made = [("read", {"name": "a"}), ("read", {"name": "b"}), ("write", NOTHING), ("read", {"name": "c"})]
    answers, _ = await answers_of(*made, tools=[read, write])
    assert [text for _, text in answers] == ["a", "b", "written", "c"]
    assert set(log[:4]) == {"begin a", "begin b", "end a", "end b"}
    assert log[4:] == ["begin write", "end write", "begin c", "end c"]


async def test_sequential_tools_alone_in_a_reply() -> None:
    @tool(sequential=True)
    def step(number: int) -> int:
        return number

    answers, _ = await answers_of(("step", {"number": 1}), ("step", {"number": 2}), tools=[step])
    assert answers == [("ok", "1"), ("ok", "2")]


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
    told: dict[str, list[object]] = {event.call.name: [] for event in of_kind(ToolStarted, events)}
    for event in of_kind(ToolProgress, events):
        told[event.call.name].append(event.value)
    assert told == {"count": [1, 2, 3], "count_async": [1, 2], "with_result": ["working"], "nothing": []}


async def test_an_unknown_tool_is_answered_with_those_there_are() -> None:
    answers, events = await answers_of(("divide", NOTHING), tools=[add, add_async])
    assert answers == [("error", "There is no tool 'divide'. The tools are: add, add_async.")]
    assert of_kind(ToolStarted, events) == []
    (finished,) = of_kind(ToolFinished, events)
    assert isinstance(finished.error, ToolError)


async def test_wrong_arguments_are_explained_one_by_one_and_nothing_runs() -> None:
    ran: list[int] = []

    def book(seats: int, name: str) -> None:
        ran.append(seats)

    answers, _ = await answers_of(("book", {"seats": "many", "extra": 1}), tools=[book])
    (outcome, text) = answers[0]
    assert outcome == "error"
    assert text.splitlines() == [
        "The arguments of book are not valid, so it was not run:",
        "- seats: Input should be a valid integer, unable to parse string as an integer (got 'many')",
        "- name: Field required",
        "- extra: Extra inputs are not permitted (got 1)",
    ]
    assert ran == []


async def test_invalid_json_is_explained() -> None:
    ((outcome, text),), _ = await answers_of(("add", '{"a": 1, "b":'), tools=[add])
    assert outcome == "error"
    assert "Invalid JSON" in text


@pytest.mark.parametrize(
    ("name", "arguments", "mended"),
    [
        ("add", '"{\\"a\\": 1, \\"b\\": 2}"', [("", "decoded once more")]),
        ("add", '```json\n{"a": 1, "b": 2}\n```', [("", "code fence taken off")]),
        ("functions.add", {"a": 1, "b": 2}, [("name", "'functions.add' read as 'add'")]),
        ("Add", {"a": 1, "b": 2}, [("name", "'Add' read as 'add'")]),
    ],
)
async def test_what_models_really_send_is_mended_and_told(name: str, arguments: Any, mended: list[Any]) -> None:
    answers, events = await answers_of((name, arguments), tools=[add])
    assert answers == [("ok", "3")]
    assert [list(event.mends) for event in of_kind(CallMended, events)] == [mended]


async def test_null_in_a_strict_tool_is_no_mend() -> None:
    @tool(strict=True)
    def greet(name: str = "you") -> str:
        return f"Hello {name}"

    answers, events = await answers_of(("greet", {"name": None}), tools=[greet])
    assert answers == [("ok", "Hello you")]
    assert of_kind(CallMended, events) == []


def fails() -> None:
    raise ValueError("no such order")


def refuses() -> None:
    raise ToolError("ask again on Monday")


def leaves() -> None:
    raise SystemExit(3)


def stops() -> None:
    raise StopIteration


async def fails_async() -> None:
    raise ValueError("no such order")


async def fails_in_a_group() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(fails_async)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (fails, "ValueError: no such order"),
        (fails_async, "ValueError: no such order"),
        (fails_in_a_group, "ValueError: no such order"),
        (refuses, "ask again on Monday"),
        (leaves, "SystemExit: 3"),
        (stops, "StopIteration"),
    ],
)
async def test_what_a_tool_raises_is_an_answer(function: Any, text: str) -> None:
    answers, events = await answers_of((function.__name__, {}), tools=[function])
    assert answers == [("error", text)]
    (finished,) = of_kind(ToolFinished, events)
    assert finished.error is not None
    assert finished.error.__traceback__ is not None


async def test_one_failing_call_does_not_lose_the_others() -> None:
    answers, _ = await answers_of(
        ("add", {"a": 1, "b": 1}), ("fails", NOTHING), ("add", {"a": 2, "b": 2}), tools=[add, fails]
    )
    assert answers == [("ok", "2"), ("error", "ValueError: no such order"), ("ok", "4")]


async def test_errors_can_be_hidden() -> None:
    @tool(errors="show")
    def open_hearted() -> None:
        raise ValueError("told all the same")

    answers, events = await answers_of(
        ("fails", NOTHING),
        ("refuses", NOTHING),
        ("open_hearted", NOTHING),
        tools=[fails, refuses, open_hearted],
        errors="hide",
    )
    assert answers[0][1].startswith("The tool failed (incident ")
    assert "no such order" not in answers[0][1]
    assert answers[1:] == [("error", "ask again on Monday"), ("error", "ValueError: told all the same")]
    assert [str(event.error) for event in of_kind(ToolFinished, events) if event.call.name == "fails"] == [
        "no such order"
    ]


def sorry(error: Exception) -> str:
    return f"Sorry: {error}"


async def test_errors_can_be_said_by_a_function() -> None:
    answers, _ = await answers_of(("fails", NOTHING), tools=[fails], errors=sorry)
    assert answers == [("error", "Sorry: no such order")]


async def test_a_tool_that_takes_too_long_is_answered() -> None:
    @tool(timeout=0.05)
    async def slow() -> None:
        await anyio.sleep_forever()

    release = threading.Event()

    @tool(timeout=0.05)
    def stubborn() -> None:
        release.wait(10)

    answers, _ = await answers_of(
        ("slow", NOTHING), ("stubborn", NOTHING), ("add", {"a": 1, "b": 1}), tools=[slow, stubborn, add]
    )
    release.set()
    assert answers == [
        ("error", "slow did not finish in 0.05 s"),
        ("error", "stubborn did not finish in 0.05 s"),
        ("ok", "2"),
    ]


async def test_a_result_that_changes_later_does_not_change_the_history() -> None:
    live: list[int] = []

    def grow() -> list[int]:
        live.append(len(live))
        return live

    model = Scripted(called(("grow", NOTHING)), called(("grow", NOTHING)), said("done"))
    result = await Agent(model, tools=[grow]).run("go")
    assert [message.content for message in result.messages if isinstance(message, ToolMessage)] == ["[0]", "[0,1]"]


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
