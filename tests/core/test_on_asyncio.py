"""What holds under asyncio and trio alike is tested with `concurrency`."""

import asyncio
import gc
import threading
from contextvars import ContextVar

import pytest

from agentkit.core.on_asyncio import call_to_its_end, run_to_its_end
from tests.programs import PATIENCE


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("agentkit")]


def test_threads_end_with_their_loop() -> None:
    before = set(ours())

    async def main() -> set[threading.Thread]:
        return {await call_to_its_end(threading.current_thread) for _ in range(20)}

    threads = asyncio.run(main())
    assert all(thread.name.startswith("agentkit") for thread in threads)
    assert not set(ours()) - before  # at once, and not only when the garbage is collected


def test_an_error_that_comes_after_a_cancellation_is_not_reported_as_lost() -> None:
    lost: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        begun, go = threading.Event(), threading.Event()

        def fail() -> None:
            begun.set()
            assert go.wait(PATIENCE)
            raise KeyError("a")

        task = asyncio.create_task(call_to_its_end(fail))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    assert lost == []


def test_work_runs_in_a_task_of_its_own_with_the_context_of_its_caller() -> None:
    variable = ContextVar[str]("variable")

    async def work() -> tuple[str, object]:
        return variable.get(), asyncio.current_task()

    async def main() -> None:
        variable.set("here")
        value, task = await run_to_its_end(work)
        assert value == "here"
        assert task is not asyncio.current_task()

    asyncio.run(main())
