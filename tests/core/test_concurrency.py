import asyncio
import gc
import weakref

import anyio
import pytest
import trio
from anyio import CapacityLimiter

from agentkit.core.concurrency import Limiter, _limiters


@pytest.mark.anyio
async def test_at_most_so_many_are_in() -> None:
    limiter = Limiter(2)
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with limiter.here():
            inside += 1
            most = max(most, inside)
            await anyio.lowlevel.checkpoint()
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(enter)
    assert (inside, most) == (0, 2)


@pytest.mark.anyio
async def test_each_has_its_own_and_it_is_the_same_each_time() -> None:
    one, other = Limiter(1), Limiter(2)
    assert one.here() is one.here()
    assert (one.here().total_tokens, other.here().total_tokens) == (1, 2)


def test_each_event_loop_has_its_own() -> None:
    limiter = Limiter(1)

    async def hold() -> CapacityLimiter:
        async with limiter.here():
            return limiter.here()

    assert len({id(each) for each in (asyncio.run(hold()), trio.run(hold), asyncio.run(hold()))}) == 3


@pytest.mark.anyio
async def test_one_that_is_gone_leaves_nothing() -> None:
    limiter = Limiter(1)
    limiter.here()
    assert len(_limiters.get()) == 1
    gone = weakref.ref(limiter)
    del limiter
    gc.collect()
    assert gone() is None
    assert len(_limiters.get()) == 0
