"""Wherever a worker is killed, another one resumes the run, and nothing that was recorded is done again."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.endpoint import Json, calls, fault_in, serving, text
from tests.programs import PATIENCE
from tests.promises.once import Ledger

ROOT = Path(__file__).parent.parent.parent
MANY = 10


def step_of(request: Json) -> int:
    return sum(message["role"] == "assistant" for message in request["messages"])


def reply(request: Json) -> Json:
    """The reply depends only on the history."""
    step = step_of(request)
    if step == 0:
        return calls(("note", {"at": 0}), ("pay", {"invoice": 1}), ids=["note0", "pay0"])
    if step == 1:
        return calls(("send", {"mail": 1}), ("note", {"at": 1}), ids=["send1", "note1"])
    return text("all done")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Json], list[list[str]]]:
    folder = tmp_path_factory.mktemp("sweep")
    ledger = Ledger(folder / "ledger")

    def answer(request: Json) -> Json:
        ledger.add("asked", request["messages"][1]["content"].removeprefix("run "), str(step_of(request)))
        return reply(request)

    with serving(answer) as endpoint:
        command = [sys.executable, "-m", "tests.durable.sweep", str(folder), endpoint.url]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)  # noqa: S603 (this very test suite)
    return [json.loads(line) for line in done.stdout.splitlines()], ledger.lines()


def test_every_run_comes_to_its_end(swept: tuple[list[Json], list[list[str]]]) -> None:
    runs, _ = swept
    assert sum(run["killed"] for run in runs) > MANY  # some points are not always there
    assert {run["output"] for run in runs} == {"all done"}
    assert all(run["attempts"] > 1 for run in runs if run["killed"])
    places = {run["at"].split()[0] for run in runs}
    assert places == {"writes", "wrote", "note", "pay", "send"}
    for run in runs:
        assert fault_in(run["sent"][:-1]) is None


def test_a_reply_that_was_recorded_is_not_asked_for_again(swept: tuple[list[Json], list[list[str]]]) -> None:
    recorded: dict[str, int] = {}
    for kind, *rest in swept[1]:
        if kind == "killed":
            recorded = json.loads(rest[0])
        elif kind == "asked":
            run, step = rest
            assert int(step) >= recorded.get(run, 0)


def test_effects_are_there_as_often_as_was_promised(swept: tuple[list[Json], list[list[str]]]) -> None:
    runs = [run["run"] for run in swept[0]]
    times = Counter((kind, run) for kind, run, *_ in swept[1] if kind in ("pay", "send", "note"))
    for run in runs:
        assert times["pay", run] == 1  # exactly once: run again with the same key
        assert times["send", run] <= 1  # at most once: taken as done
        assert times["note", run] >= len(("note 0", "note 1"))  # at least once
    sent = sum(times["send", run] for run in runs)
    assert sent > len(runs) // 2
    # A run that waited was decided on in another process.
    assert [line for line in swept[1] if line[0] == "sign"] == [["sign", "approved", "1"]]


def test_a_run_that_was_killed_is_the_same_as_one_that_was_not(swept: tuple[list[Json], list[list[str]]]) -> None:
    runs, _ = swept
    for run in runs:
        results = [message["content"] for message in run["sent"] if message["role"] == "tool"]
        doubted = any("had been started" in result for result in results)
        assert run["same"] != doubted, run["at"]
