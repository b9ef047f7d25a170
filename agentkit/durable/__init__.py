"""Durable runs on DBOS: each reply and each result is recorded, and another worker resumes where one died.

`runs` submits and lists, `submitted` is the handle of a run, `worker` takes runs from queues. `workflows` says what a
run is in DBOS, `recording` writes and reads its records, `serializer` is their format. `worker_locks` tells which
workers are alive, `dbos_internals` holds the private functions of DBOS that are used.

Needs the extra `durable`. May import `agent` and every room below it. A new kind of value goes to `serializer`.
"""

from agentkit.core.errors import MissingExtra

try:
    from agentkit.durable.runs import Runs
    from agentkit.durable.submitted import Submitted
    from agentkit.durable.worker import Served, Worker, work
    from agentkit.durable.workflows import RunInfo, RunState
except ImportError as missing:
    raise MissingExtra("durable runs need DBOS, the extra `durable`: pip install 'dbos>=3.4,<3.5'") from missing

__all__ = ["RunInfo", "RunState", "Runs", "Served", "Submitted", "Worker", "work"]
