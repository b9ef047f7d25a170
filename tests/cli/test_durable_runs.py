"""Durable runs from the command line: submitted, worked on by another process, listed."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent
from agentkit.cli import durable_runs
from agentkit.durable import Runs, Served
from agentkit.testing import chaos
from tests.cli.commands import Weather, give
from tests.programs import PATIENCE, started
from tests.viewer import data_in

SECRET = "hunter-two"


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("AGENTKIT_STORE", "runs.db")
    (folder / "named.py").write_text("from agentkit import Agent\nagent = Agent('m', name='ann')\n")
    opened = "from contextlib import asynccontextmanager\nfrom named import agent as own\n@asynccontextmanager\n"
    (folder / "opened.py").write_text(f"{opened}async def agent(): yield own.with_name('agent')\n")


def runs_of(*words: str) -> Any:
    return json.loads(give("runs", "--json", *words).stdout)


PROMPTS = {"first": "Is it raining?", "second": "Hello", "third": "Please book", "fourth": "fail"}


def test_runs_are_submitted_executed_and_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, prompt in PROMPTS.items():
        submitted = give("submit", "weather.py", prompt, "--id", name)
        assert (submitted.exit_code, submitted.stdout, submitted.stderr) == (0, f"{name}\n", "")
    assert {(run["agent"], run["state"]) for run in runs_of()} == {("weather", "queued")}
    none = give("runs", "done")
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "agentkit: no runs\n")
    with chaos(Weather()) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        command = [sys.executable, "-m", "agentkit", "worker", "weather.py", "--rate", "100/0.5"]
        with started(command, stderr=subprocess.PIPE) as worker:
            try:
                words = {"first": (), "second": ("--json",), "third": (), "fourth": ("--json",)}
                answered, as_json, paused, failed = (
                    give("submit", "weather.py", PROMPTS[name], "--id", name, "--wait", *more)
                    for name, more in words.items()
                )
                again = give("submit", "weather.py", "fail", "--id", "fourth", "--wait")
            finally:
                worker.send_signal(signal.SIGTERM)
                _, notice = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0
    assert notice.startswith("agentkit: executing runs of weather in Runs('sqlite:///")
    assert (answered.exit_code, answered.stdout) == (0, "I heard: light rain in Paris\n")
    assert answered.stderr == "agentkit: submitted first; waiting for a worker of weather\n"
    data = json.loads(as_json.stdout)
    assert (as_json.exit_code, data["id"], data["output"], data["stop"]) == (0, "second", "Hello to you", "answer")
    assert (paused.exit_code, paused.stdout) == (3, "")
    assert 'agentkit: waiting for approval: book_table(place="Ritz")\n' in paused.stderr
    assert "await runs.run('third', agent).decide(…)" in paused.stderr
    data = json.loads(failed.stdout)
    assert (failed.exit_code, data["id"], data["output"]) == (1, "fourth", None)
    assert (again.exit_code, again.stdout) == (1, "")
    assert all("it cannot be asked" in text for text in (data["error"]["text"], failed.stderr, again.stderr))
    lines = [line.split()[:3] for line in give("runs").stdout.splitlines()]
    states = [("fourth", "failed"), ("third", "waiting"), ("second", "done"), ("first", "done")]
    assert lines == [["run", "agent", "state"], *[[run, "weather", state] for run, state in states]]
    assert [run["id"] for run in runs_of("waiting")] == ["third"]
    assert give("view", "first").stderr == "agentkit: wrote first.html\n"
    (shown,) = data_in(Path("first.html").read_text())["runs"]
    assert (shown["agent"], shown["stop"], [item["kind"] for item in shown["items"]]) == (
        "weather",
        "done",
        ["message", "step", "step"],
    )
    assert shown["items"][1]["calls"][0]["result"] == "light rain in Paris"
    assert [run["id"] for run in runs_of("--limit", "2")] == ["fourth", "third"]
    assert "--limit 30" in give("runs", "--limit", "3").stderr


@pytest.mark.parametrize(("words", "agent"), [
    (["weather.py"], "weather"), (["opened.py"], "opened"), (["opened.py", "--name", "bob"], "bob"), (["named.py"], "ann"), (["named.py", "--name", "bob"], "bob"), (["gpt-5"], "gpt-5"),
])  # fmt: skip
def test_worker_and_submit_name_an_agent_alike(words: list[str], agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Runs, tuple[Served[Any], ...]]] = []

    def record(runs: Runs, *served: Served[Any], grace: int) -> None:
        assert grace == 7
        calls.append((runs, served))

    monkeypatch.setattr(durable_runs, "work", record)
    place = f"postgresql://ann:{SECRET}@h/x"
    done = give(
        "worker",
        *words,
        "--store",
        place,
        "--at-once",
        "3",
        "--global-concurrency",
        "9",
        "--rate",
        "100/60",
        "--grace",
        "7",
    )
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"agentkit: executing runs of {agent} in Runs('postgresql://ann:***@h/x'); Ctrl-C stops\n"
    ((runs, (served,)),) = calls
    assert (runs.url, served.queue, isinstance(served.agent, Agent)) == (place, agent, "opened.py" not in words)
    assert (served.at_once, served.global_concurrency, served.rate) == (3, 9, (100, 60.0))
    submitted = json.loads(give("submit", *words[:1], "Hello", *words[1:], "--json").stdout)
    assert (submitted["agent"], submitted["state"]) == (agent, "queued")
    assert [run["id"] for run in runs_of("queued")] == [submitted["id"]]
