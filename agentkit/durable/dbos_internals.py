"""The three private functions of DBOS that agentkit calls, and nothing else does.

DBOS recovers what a dead worker left only through its hosted service, and reads a worker's own workflows only when it
starts. agentkit knows which workers are dead by their locks, so it asks for recovery itself. DBOS has no public function
for that. These were checked with DBOS 3.4.0, and `pyproject.toml` pins its minor version. Check them, and run
`tests/durable/test_dbos_internals.py` and `test_sweep.py`, before you allow another one.
"""

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
