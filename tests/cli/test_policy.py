import json
from pathlib import Path

import pytest

from tests.cli.commands import give

SHOP = """
from agentkit import Agent, tool
from agentkit.tool_choice import before_answer, budget, sequence

@tool
def fetch() -> str:
    return ""

@tool
def send() -> str:
    return ""

clerk = Agent("m", tools=[fetch, send], tool_choice=sequence(fetch, send))
hasty = Agent("m", tools=[fetch, send], tool_choice=before_answer(fetch) & budget(1))
"""


@pytest.fixture(autouse=True)
def shop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    (folder / "shop.py").write_text(SHOP)


def test_the_report() -> None:
    done = give("policy", "shop.py:clerk")
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        ["sequence('fetch', 'send') & no_repeat(5)", "3 states", "no problems found"],
    )
    done = give("policy", "shop.py:hasty")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[2].startswith(
        "contradiction after fetch:error: budget(1) lets the model only answer"
    )


def test_the_graph() -> None:
    assert give("policy", "shop.py:clerk", "--graph", "mermaid").stdout.startswith("flowchart TD\n")
    assert give("policy", "shop.py:clerk", "--graph", "dot").stdout.startswith("digraph policy {\n")
    assert give("policy", "shop.py:clerk", "--graph", "svg").stdout.startswith("<svg ")
    done = give("policy", "shop.py:clerk", "--graph", "png")
    assert (done.exit_code, "mermaid, dot, svg" in done.stderr) == (2, True)


def test_as_json() -> None:
    done = give("policy", "shop.py:hasty", "--json")
    data = json.loads(done.stdout)
    assert (done.exit_code, data["explored"], data["dead"], data["stuck"]) == (1, "all", [], [])
    assert data["states"][0]["moves"][0] == {"calls": "fetch:ok", "to": 1}
    assert data["contradictions"][0]["after"] == ["fetch:error"]
    assert [state["choice"] for state in data["states"]] == ["required", "none", None]
