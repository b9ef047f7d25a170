import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
import trio
from anyio import CapacityLimiter

from agentkit.core.concurrency import Limiter, Threads, _limiters, shielded, to_its_end

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
pytestmark = pytest.mark.anyio


async def test_at_most_so_many_are_in() -> None:
    limiter = Limiter(2)
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with limiter.entered():
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(enter)
    assert (inside, most) == (0, 2)


async def test_each_has_its_own_and_it_is_the_same_each_time() -> None:
    one, other = Limiter(1), Limiter(2)
    assert one.here() is one.here()
    assert (one.here().total_tokens, other.here().total_tokens) == (1, 2)


def test_each_event_loop_has_its_own() -> None:
    limiter = Limiter(1)

    async def hold() -> CapacityLimiter:
        async with limiter.here():
            return limiter.here()

    assert len({id(own) for own in (asyncio.run(hold()), trio.run(hold), asyncio.run(hold()))}) == 3


async def test_one_that_is_gone_leaves_nothing() -> None:
    limiter = Limiter(1)
    limiter.here()
    assert len(_limiters.get()) == 1
    gone = weakref.ref(limiter)
    del limiter
    gc.collect()
    assert gone() is None
    assert len(_limiters.get()) == 0


async def test_cancelling_does_not_wait_for_a_thread() -> None:
    begun, released = anyio.Event(), threading.Event()

    def work() -> None:
        anyio.from_thread.run_sync(begun.set)
        released.wait(60)

    async with anyio.create_task_group() as group:
        group.start_soon(Threads(1).run, work)
        await begun.wait()
        group.cancel_scope.cancel()
    assert not released.is_set()
    released.set()


async def test_to_its_end_runs_one_at_a_time() -> None:
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


async def test_what_is_cancelled_already_is_done_all_the_same() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert await shielded(ten) == list(range(10))


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


@pytest.mark.parametrize("error", [KeyError("a"), Odd("b"), asyncio.CancelledError()])
async def test_whatever_it_raises_is_raised_alone(error: BaseException) -> None:
    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(type(error)) as caught:
        await shielded(work)
    assert caught.value is error


def cancelling(how: str) -> tuple[Callable[[Work], Coroutine[Any, Any, None]], list[Callable[[], object]]]:
    """Return a function that runs work so that it can be cancelled, and the list where it puts how."""
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


@pytest.mark.parametrize(
    ("anyio_backend", "how"), [("asyncio", "scope"), ("trio", "scope"), ("asyncio", "task")], indirect=["anyio_backend"]
)
async def test_what_has_begun_in_a_thread_goes_on_and_what_waits_does_not_begin(how: str) -> None:
    turn, begun, release, ran = Limiter(1), threading.Event(), threading.Event(), list[str]()
    run, cancel = cancelling(how)

    def first() -> None:
        begun.set()
        assert release.wait(60)
        ran.append("first")

    async def one() -> None:
        await to_its_end(turn, first)
        ran.append("its end was seen")

    async def other() -> None:
        await to_its_end(turn, lambda: ran.append("other"))

    async with anyio.create_task_group() as group:
        group.start_soon(run, one)
        await anyio.to_thread.run_sync(begun.wait)
        group.start_soon(run, other)
        while turn.here().statistics().tasks_waiting == 0:
            await anyio.lowlevel.checkpoint()
        for stop in cancel:
            stop()
        await anyio.wait_all_tasks_blocked()
        release.set()
    assert ran[0] == "first"
    assert "other" not in ran
    assert (turn.here().borrowed_tokens, "its end was seen" in ran) == (0, how == "scope")
