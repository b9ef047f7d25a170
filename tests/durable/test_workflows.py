"""What a run is in DBOS."""

import pytest

from agentkit.durable.workflows import part_of, workflow_id_of


@pytest.mark.parametrize(("run", "part"), [("a", 1), ("a", 2), ("a#b", 1), ("a#b", 12)])
def test_a_workflow_says_which_part_of_which_run_it_is(run: str, part: int) -> None:
    assert part_of(workflow_id_of(run, part)) == (run, part)
