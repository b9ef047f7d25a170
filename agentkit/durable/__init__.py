"""Durable runs: each reply and each result is recorded, and another worker goes on where one died."""

from agentkit.core.errors import MissingExtra

try:
    from agentkit.durable.runs import Runs
    from agentkit.durable.submitted import RunInfo, RunState, Submitted
    from agentkit.durable.worker import Served, Worker, work
except ImportError as missing:
    raise MissingExtra("durable runs need DBOS, the extra `durable`: pip install 'dbos>=3.4'") from missing

__all__ = ["RunInfo", "RunState", "Runs", "Served", "Submitted", "Worker", "work"]
