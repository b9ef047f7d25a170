from pathlib import Path

import pytest

from tests.cli.commands import give

SECRET = "hunter-two"


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.delenv("AGENTKIT_STORE", raising=False)


@pytest.mark.parametrize(("words", "text"), [
    (["worker", "weather.py"], "Missing option '--store'"),
    (["worker", "weather.py", "--store", "r.db", "--at-once", "0"], "'--at-once'"),
    (["submit", "weather.py", "--store", "r.db"], "the prompt is missing: agentkit submit TARGET"),
    (["submit", "weather.py", "hi", "--store", "r.db", "--id", "a#2"], "'a#2' cannot be the id of a run"),
    (["submit", "weather.py", "hi", "--store", "no/r.db"], "mkdir -p 'no'"),
    (["submit", "no.py", "hi", "--store", "r.db"], "there is no file"),
    (["worker", "weather.py", "--store", "r.db", "--rate", "5"], "100 a minute, not '5'"),
    (["worker", "weather.py", "--store", "r.db", "--rate", "5/0"], "100 a minute, not '5/0'"),
    (["worker", "weather.py", "--store", "r.db", "--name", "a", "--name", "b"], "2 names for 1 agents"),
    (["worker", "weather.py", "weather.py", "--store", "r.db"], "each has a name of its own"),
    (["runs", "--store", "r.db"], "there is no file 'r.db'"),
    (["runs", "lost", "--store", "r.db"], "there is no state 'lost'; the states are queued, running, waiting"),
    (["runs", "--store", f"mysql://ann:{SECRET}@h/x"], "in an SQLite file or at a postgresql:// address"),
    (["runs", "--store", f"postgresql://ann:x/{SECRET}@h:{SECRET}/x"], "not a valid address"),
])  # fmt: skip
def test_wrong_usage(words: list[str], text: str) -> None:
    done = give(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert text in " ".join(done.stderr.split())
    assert SECRET not in done.output
    assert not Path("r.db").exists()
