import gc
import threading
import weakref

import anyio
import pytest

from agentkit.threads import Threads, _limiters

pytestmark = pytest.mark.anyio


async def test_at_most_so_many_at_once() -> None:
    threads = Threads(2)
    both = threading.Barrier(2)
    most: list[int] = []
    running: set[int] = set()

    def work() -> None:
        running.add(threading.get_ident())
        most.append(len(running))
        both.wait(5)
        running.discard(threading.get_ident())

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(threads.run, work)
    assert max(most) <= 2


async def test_a_share_that_is_gone_leaves_nothing() -> None:
    threads = Threads(1)
    assert await threads.run(lambda: 5) == 5
    gone = weakref.ref(threads)
    del threads
    gc.collect()
    assert gone() is None
    assert len(_limiters.get()) == 0
