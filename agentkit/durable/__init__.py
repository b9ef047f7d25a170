"""Durable runs on DBOS: each reply and each result is recorded, and another worker resumes where one died.

`runs` submits and lists, `worker` runs queues, `workflows` is one run as a DBOS workflow, `recording` stands between the
loop and the database, `worker_locks` tells which workers live, `serializer` writes values.

Needs the extra `durable`. May import `agent` and every room below it. A new kind of value goes to `serializer`.
"""

from agentkit.core.errors import MissingExtra

try:
    from agentkit.durable.runs import Runs
    from agentkit.durable.submitted import RunInfo, RunState, Submitted
    from agentkit.durable.worker import Served, Worker, work
except ImportError as missing:
    raise MissingExtra("durable runs need DBOS, the extra `durable`: pip install 'dbos>=3.4'") from missing

__all__ = ["RunInfo", "RunState", "Runs", "Served", "Submitted", "Worker", "work"]
