"""Wherever a process is killed: what must happen once does not happen twice, and the conversation goes on."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory

import pytest

from agentkit.tools.options import OnInterrupted
from tests.endpoint import Json, fault_in
from tests.programs import PATIENCE, started
from tests.promises.once import POLICIES
from tests.promises.scenario import FORMS

ROOT = Path(__file__).parent.parent.parent
MEMORY = Path("/dev/shm")  # noqa: S108 (a fresh folder in it is used)
"""Files that are only in memory outlive a process that is killed, and syncing them takes no time."""
EFFECTS = {"pay 1", "pay 2", "send 1", "send 2"}
MANY = 40


@pytest.fixture(scope="module")
def runs() -> Iterator[list[Json]]:
    """Sweep under each policy."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        command = [sys.executable, "-m", "tests.promises.once", folder]
        with started(command, cwd=ROOT, stdout=subprocess.PIPE) as sweep:
            lines = sweep.communicate(timeout=PATIENCE)[0].splitlines()
            assert sweep.returncode == 0
            yield [json.loads(line) for line in lines]


def under(policy: OnInterrupted, runs: list[Json]) -> list[Json]:
    return [run for run in runs if run["policy"] == policy]


def effects_of(run: Json) -> Counter[str]:
    return Counter(effect for effect, _ in run["effects"])


@pytest.mark.parametrize("policy", POLICIES)
def test_wherever_it_is_killed_it_goes_on(policy: OnInterrupted, runs: list[Json]) -> None:
    runs = under(policy, runs)
    assert {run["ended"] for run in runs} <= {-SIGKILL, 0}  # some points are not always there
    assert len({(*run["at"],) for run in runs if run["ended"] == -SIGKILL}) > MANY
    assert {run["form"] for run in runs} == {*FORMS}
    places = {run["at"][0] for run in runs}
    assert places >= {"append begins", "append ended", "pay begins", "pay ends", "send begins", "send ends"}
    assert sum(bool(run["started"]) for run in runs) > MANY // 4
    for run in runs:
        replies = [at for at, message in enumerate(run["messages"]) if message["role"] == "assistant"]
        assert fault_in(run["messages"][: replies[-1]]) is None  # a run that is paused has open calls in its last reply
        assert run["messages"][0] == {"role": "system", "content": "Be exact."}
        assert not {*run["answered"]} & {*run["ran"]}
        # The message that a tool sent is read once; one that was not read when the process died is lost.
        assert sum(message["content"] == "Be quick." for message in run["messages"]) <= 1
        # What had not started, or has a result, happened exactly once.
        certain = {effect: times for effect, times in effects_of(run).items() if effect not in run["started"]}
        assert certain == dict.fromkeys(EFFECTS - {*run["started"]}, 1)
        # An effect keeps its key.
        keys = {(effect, key) for effect, key in run["effects"]}
        assert len(keys) == len({effect for effect, _ in keys})


def test_someone_decides(runs: list[Json]) -> None:
    for run in under("ask", runs):
        assert run["pending"] == run["started"]
        assert run["asked"] == [[effect, True] for effect in run["started"]]
        for effect in run["started"]:
            again = effect in run["ran"]
            assert again == (run["decided"] == "approve")
            assert effects_of(run)[effect] == run["before"].count(effect) + again
        # The last reply pays the first invoice again: where nobody knows whether it is paid, someone decides again.
        paused = run["decided"] == "deny" and "pay 1" in run["started"]
        assert (run["stop"], run["output"]) == (("paused", "") if paused else ("answer", "all done"))
    decided = Counter(run["decided"] for run in under("ask", runs) if run["started"])
    assert decided["approve"] == decided["deny"] > MANY // 4


def test_it_is_taken_as_done(runs: list[Json]) -> None:
    for run in under("done", runs):
        assert (run["pending"], run["asked"], run["output"]) == ([], [], "all done")
        assert not {*run["started"]} & {*run["ran"]}
        assert all(times == 1 for times in effects_of(run).values())
        assert {*effects_of(run)} == EFFECTS - ({*run["started"]} - {*run["before"]})


def test_it_is_run_again_with_the_same_key(runs: list[Json]) -> None:
    for run in under("again", runs):
        assert (run["pending"], run["asked"], run["output"]) == ([], [], "all done")
        assert {*run["started"]} <= {*run["ran"]}
        assert effects_of(run) == dict.fromkeys(EFFECTS, 1)
