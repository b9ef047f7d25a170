"""What a run is in DBOS."""

from typing import Any

import pytest
from dbos import WorkflowStatus

from agentkit.durable.workflows import info_of, part_of, workflow_id_of


@pytest.mark.parametrize(("run", "part"), [("a", 1), ("a", 2), ("a#b", 1), ("a#b", 12)])
def test_a_workflow_says_which_part_of_which_run_it_is(run: str, part: int) -> None:
    assert part_of(workflow_id_of(run, part)) == (run, part)


@pytest.mark.parametrize(("worker", "state"), [("alive", "running"), ("dead", "queued"), (None, "running")])
def test_the_run_of_a_dead_worker_does_not_run(worker: str | None, state: str) -> None:
    status: Any = WorkflowStatus()
    status.workflow_id, status.status, status.executor_id = "a", "PENDING", worker
    status.attributes = status.created_at = status.updated_at = status.recovery_attempts = None
    assert info_of(status, lambda name: name == "alive").state == state
    assert info_of(status).state == "running"
