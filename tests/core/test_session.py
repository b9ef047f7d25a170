import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.concurrency import Limiter, shielded, to_its_end
from agentkit.core.errors import InvalidRequest, SessionError
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.repair import UNKNOWN
from agentkit.core.session import Entry, Started, StoredConversation, entries_of, line_of
from tests.core.test_codec import TEXT
from tests.core.test_dicts import MESSAGE

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
CALLING = AssistantMessage(tool_calls=(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")))
A, B = Started("a", "f", "{}"), Started("b", "f", "{}")


@given(st.lists(MESSAGE | st.builds(Started, TEXT, TEXT, TEXT, TEXT), max_size=4))
def test_entries_are_lines_and_entries_again(entries: list[Entry]) -> None:
    lines = [line_of(each) for each in entries]
    assert not any("\n" in each for each in lines)
    assert list(entries_of(("here", each.encode()) for each in lines)) == entries


def test_what_was_started_and_not_answered_is_known() -> None:
    kept = StoredConversation.of([UserMessage("Hi"), CALLING, A, B, ToolMessage("b", "done")])
    assert kept == StoredConversation(
        (UserMessage("Hi"), CALLING, ToolMessage("b", "done")), (A,), ((B, ToolMessage("b", "done")),)
    )
    assert StoredConversation.of([CALLING, A, ToolMessage("a", "done")]).started == ()
    assert StoredConversation.of([ToolMessage("a", "done"), A]).started == (A,)


def test_an_id_that_is_used_again_is_another_call() -> None:
    other = AssistantMessage(tool_calls=(ToolCall("b", "f", "{}"),))
    kept = StoredConversation.of([CALLING, A, B, UserMessage("Hi"), other])
    assert kept.started == (A,)
    assert kept.ended == ((B, ToolMessage("b", UNKNOWN, "cancelled")),)  # what it did is not forgotten


def test_records_of_an_older_version_have_no_key() -> None:
    line = '{"started": {"call_id": "a", "name": "f", "arguments": "{}"}}'
    assert list(entries_of([("here", line)])) == [A]


def test_records_that_are_not_known_here_are_left_out() -> None:
    lines = ['{"forked": {}}', "{}", line_of(A)]
    assert list(entries_of(("here", each) for each in lines)) == [A]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "Expecting value"),
        ("[]", r"the entry must be a message or a dict, not \[\]"),
        (b"\xff", "codec can't decode"),
        ("[" * 100_000, "recursion"),
        ('{"role": "user"}', r"the entry\.content must be a text"),
        ('{"started": {"call_id": "a", "name": "f"}}', "has not its id, name and arguments"),
        ('{"started": {"$new": 1}}', "not known to this version"),
    ],
)
def test_a_line_that_is_no_entry_is_an_error(line: str | bytes, said: str) -> None:
    with pytest.raises(SessionError, match=rf"(?s)^line 7 cannot be read: .*{said}.* Nothing was changed; mend"):
        list(entries_of([("line 7", line)]))


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        line_of(AssistantMessage("a", extra={"a": object()}))
    assert json.loads(line_of(A)) == {"started": {"call_id": "a", "name": "f", "arguments": "{}", "key": ""}}


@pytest.mark.anyio
async def test_it_is_one_at_a_time_and_each_has_its_turn() -> None:
    turn, order, inside = Limiter(1), list[int](), list[int]()

    async def one(number: int) -> None:
        def work() -> int:
            inside.append(number)
            assert len(inside) == 1
            return inside.pop()

        order.append(await to_its_end(turn, work))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, number)
    assert sorted(order) == list(range(20))


@pytest.mark.anyio
async def test_what_is_raised_comes_back_as_it_is() -> None:
    def work() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError) as caught:
        await to_its_end(Limiter(1), work)
    assert caught.value.__context__ is None


# Work that goes on to its end


async def ten() -> list[int]:
    done = list[int]()
    for number in range(10):
        await anyio.lowlevel.checkpoint()
        done.append(number)
    return done


@pytest.mark.anyio
@pytest.mark.parametrize("times", range(8))
async def test_a_cancellation_comes_after_it(times: int) -> None:
    ended: list[list[int]] = []
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            for _ in range(times):
                await anyio.lowlevel.checkpoint()
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            ended.append(await shielded(ten))
            await anyio.lowlevel.checkpoint()
            raise AssertionError
    assert scope.cancelled_caught
    assert ended == [list(range(10))]


@pytest.mark.anyio
async def test_what_is_cancelled_already_is_done_all_the_same() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert await shielded(ten) == list(range(10))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", range(8))
async def test_a_task_that_is_cancelled_does_it_first(times: int) -> None:
    ended: list[int] = []

    async def work() -> None:
        ended.extend(await ten())

    task = asyncio.create_task(shielded(work))
    for _ in range(times):
        await asyncio.sleep(0)
    begun = times > 0
    for _ in range(3):
        task.cancel()  # again and again
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == (list(range(10)) if begun else [])


class Odd(BaseException):
    pass


@pytest.mark.anyio
@pytest.mark.parametrize("error", [KeyError("a"), Odd("b"), asyncio.CancelledError()])
async def test_whatever_it_raises_is_raised_alone(error: BaseException) -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(type(error)) as caught:
        await shielded(work)
    assert caught.value is error


def cancelling(
    how: str,
) -> tuple[Callable[[Work], Coroutine[Any, Any, None]], list[Callable[[], object]]]:
    """Give what runs something that can be cancelled, and where it leaves how."""
    cancel: list[Callable[[], object]] = []

    async def in_a_scope(work: Work) -> None:
        with anyio.CancelScope() as scope:
            cancel.append(scope.cancel)
            await work()

    async def in_a_task(work: Work) -> None:
        task = asyncio.ensure_future(work())
        cancel.append(task.cancel)
        await asyncio.wait([task])

    return (in_a_scope if how == "scope" else in_a_task), cancel


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("anyio_backend", "how"), [("asyncio", "scope"), ("trio", "scope"), ("asyncio", "task")], indirect=["anyio_backend"]
)
async def test_what_has_begun_in_a_thread_goes_on_and_what_waits_does_not_begin(how: str) -> None:
    turn, begun, release, ran = Limiter(1), anyio.Event(), threading.Event(), list[str]()
    run, cancel = cancelling(how)

    def first() -> None:
        anyio.from_thread.run_sync(begun.set)
        assert release.wait(60)
        ran.append("first")

    async def one() -> None:
        await to_its_end(turn, first)
        ran.append("its end was seen")

    async def other() -> None:
        await to_its_end(turn, lambda: ran.append("other"))

    async with anyio.create_task_group() as group:
        group.start_soon(run, one)
        await begun.wait()
        group.start_soon(run, other)
        while turn.here().statistics().tasks_waiting == 0:
            await anyio.lowlevel.checkpoint()
        for each in cancel:
            each()
        await anyio.wait_all_tasks_blocked()
        release.set()
    assert ran[0] == "first"
    assert "other" not in ran
    assert (turn.here().borrowed_tokens, "its end was seen" in ran) == (0, how == "scope")
