"""DBOS's private functions do what agentkit relies on; `test_worker.py` and `test_sweep.py` use them for real."""

from importlib.metadata import version

import anyio

from agentkit.durable import Runs, worker
from agentkit.durable.dbos_internals import active_workflows, enqueue_again
from tests.durable.conftest import ENDLESS, NOBODYS, SLEEPER


def test_the_installed_version_is_one_that_was_checked() -> None:
    assert version("dbos").startswith("3.4.")


def test_active_workflows_are_those_that_run_here(runs: Runs) -> None:
    ENDLESS.asked.clear()
    (own,) = worker._open_workers
    running, queued = anyio.run(runs.submit, SLEEPER, "Sleep."), anyio.run(runs.submit, NOBODYS, "Wait.")
    assert ENDLESS.asked.wait(20)
    assert running.id in active_workflows(own._dbos)
    assert queued.id not in active_workflows(own._dbos)
    enqueue_again(own._dbos, running.id, "another")  # which does not have it
    assert anyio.run(running.info).state == "running"
    anyio.run(running.cancel)
