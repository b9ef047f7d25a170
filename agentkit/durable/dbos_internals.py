"""The four private parts of DBOS that agentkit uses, and nothing else does.

DBOS recovers the workflows of a dead worker when its hosted service says so, and those of a worker's own name when that
starts. agentkit knows by their locks which workers are dead, so it starts the recovery itself, and DBOS has no public
function for that. These were checked with DBOS 3.4.0, and `pyproject.toml` pins its minor version. Before you allow
another one, check them again and run `tests/durable/test_dbos_internals.py` and `tests/durable/test_sweep.py`.
"""

from asyncio import AbstractEventLoop
from typing import Any

from dbos import DBOS


def recover_workflows_of(worker: str) -> None:
    """Put the pending workflows of a dead worker back into their queues, as DBOS's recovery service does."""
    DBOS._recover_pending_workflows([worker])  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] (see above)


def active_workflows(dbos: DBOS) -> set[str]:
    """Return the ids of the workflows that run in this process: the database only knows which ones it took."""
    instance: Any = dbos
    return {*instance._active_workflows_set.activeList()}  # noqa: SLF001 (see above)


def enqueue_again(dbos: DBOS, workflow_id: str, worker: str) -> None:
    """Put one pending workflow of a worker back into its queue; the worker may be this one, which is alive."""
    instance: Any = dbos
    instance._sys_db.reenqueue_for_recovery(workflow_id, [worker], "")  # noqa: SLF001 (see above)


def event_loop_of(dbos: DBOS) -> AbstractEventLoop:
    """Return the event loop that runs the workflows."""
    instance: Any = dbos
    loop: AbstractEventLoop = instance._background_event_loop.target_loop()  # noqa: SLF001 (see above)
    return loop
