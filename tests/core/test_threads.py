import threading
import time

import anyio
import pytest

from agentkit.core.concurrency import Threads

pytestmark = pytest.mark.anyio


async def test_at_most_so_many_at_once() -> None:
    threads = Threads(2)
    both = threading.Barrier(2)
    most: list[int] = []
    running: set[int] = set()

    def work() -> None:
        running.add(threading.get_ident())
        most.append(len(running))
        both.wait(60)
        running.discard(threading.get_ident())

    async def run() -> None:
        async with threads.here():
            await threads.run(work)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(run)
    assert len(most) == 4
    assert max(most) <= 2


async def test_what_a_function_gives_and_raises() -> None:
    threads = Threads(1)
    here = threading.get_ident()
    assert await threads.run(threading.get_ident) != here

    def fail() -> None:
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        await threads.run(fail)


async def test_cancelling_does_not_wait_for_a_thread() -> None:
    released = threading.Event()
    begun = time.monotonic()
    with anyio.move_on_after(0.05) as scope:
        await Threads(1).run(lambda: released.wait(60))
    took = time.monotonic() - begun
    released.set()
    assert scope.cancelled_caught
    assert took < 30
