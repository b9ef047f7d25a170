"""Wherever a process is killed: what must happen once does not happen twice, and the conversation goes on."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from agentkit.tools.options import OnInterrupted
from tests.endpoint import Json, fault_in
from tests.programs import PATIENCE, started

ROOT = Path(__file__).parent.parent.parent
EFFECTS = {"pay 1", "pay 2", "send 1", "send 2"}
MANY = 40
POLICIES: tuple[OnInterrupted, ...] = ("ask", "done", "again")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[OnInterrupted, list[Json]]:
    """Sweep under each policy, all at once."""
    with ExitStack() as stack:
        sweeps: dict[OnInterrupted, subprocess.Popen[str]] = {}
        for policy in POLICIES:
            command = [sys.executable, "-m", "tests.promises.once", str(tmp_path_factory.mktemp(policy)), policy]
            sweeps[policy] = stack.enter_context(started(command, cwd=ROOT, stdout=subprocess.PIPE))
        lines = {policy: sweep.communicate(timeout=PATIENCE)[0].splitlines() for policy, sweep in sweeps.items()}
    return {policy: [json.loads(line) for line in lines[policy]] for policy in POLICIES}


def counted(run: Json) -> Counter[str]:
    return Counter(effect for effect, _ in run["effects"])


@pytest.mark.parametrize("policy", POLICIES)
def test_wherever_it_is_killed_it_goes_on(policy: OnInterrupted, told: dict[OnInterrupted, list[Json]]) -> None:
    runs = told[policy]
    assert {run["resumed"] for run in runs} == {0}
    assert {run["ended"] for run in runs} <= {-SIGKILL, 0}  # some points are not always there
    assert sum(run["ended"] == -SIGKILL for run in runs) > MANY
    assert {run["form"] for run in runs} == {"plain", "streamed"}
    places = {run["at"][0] for run in runs}
    assert places >= {"append begins", "append ended", "pay begins", "pay ends", "send begins", "send ends"}
    assert sum(bool(run["started"]) for run in runs) > MANY // 4
    for run in runs:
        assert fault_in(run["messages"][:-1] if run["stop"] == "answer" else answered(run["messages"])) is None
        assert run["messages"][0] == {"role": "system", "content": "Be exact."}
        assert not {*run["answered"]} & {*run["ran"]}
        # What had not started, or is answered, happened exactly once.
        certain = {effect: times for effect, times in counted(run).items() if effect not in run["started"]}
        assert certain == dict.fromkeys(EFFECTS - {*run["started"]}, 1)
        # An effect keeps its key.
        keys = {(effect, key) for effect, key in run["effects"]}
        assert len(keys) == len({effect for effect, _ in keys})


def answered(messages: list[Any]) -> list[Any]:
    """Give a history that ends in open calls up to the reply that has them."""
    replies = [at for at, each in enumerate(messages) if each["role"] == "assistant"]
    return messages[: replies[-1]]


def test_someone_decides(told: dict[OnInterrupted, list[Json]]) -> None:
    for run in told["ask"]:
        assert run["pending"] == run["started"]
        assert run["asked"] == [[effect, True] for effect in run["started"]]
        for effect in run["started"]:
            again = effect in run["ran"]
            assert again == (run["decided"] == "approve")
            assert counted(run)[effect] == run["before"].count(effect) + again
        # The last reply pays the first invoice again: where nobody knows whether it is paid, someone decides again.
        paused = run["decided"] == "deny" and "pay 1" in run["started"]
        assert (run["stop"], run["output"]) == (("paused", "") if paused else ("answer", "all done"))
    decided = Counter(run["decided"] for run in told["ask"] if run["started"])
    assert min(decided["approve"], decided["deny"]) > MANY // 4


def test_it_is_taken_as_done(told: dict[OnInterrupted, list[Json]]) -> None:
    for run in told["done"]:
        assert (run["pending"], run["asked"], run["output"]) == ([], [], "all done")
        assert not {*run["started"]} & {*run["ran"]}
        assert all(times == 1 for times in counted(run).values())
        assert {*counted(run)} == EFFECTS - ({*run["started"]} - {*run["before"]})


def test_it_is_run_again_with_the_same_key(told: dict[OnInterrupted, list[Json]]) -> None:
    for run in told["again"]:
        assert (run["pending"], run["asked"], run["output"]) == ([], [], "all done")
        assert {*run["started"]} <= {*run["ran"]}
        assert counted(run) == dict.fromkeys(EFFECTS, 1)
