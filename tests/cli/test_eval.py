import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.commands import give

CASES = """
from agentkit import Agent, tool
from agentkit.evals import Case, expect
from agentkit.testing import FunctionModel, calling, answer
from agentkit.core.messages import AssistantMessage, ToolCall

@tool
def look(city: str) -> str:
    return f"rain in {city}"

def reply(request):
    prompt = str(request.messages[0].content)
    if len(request.messages) == 1:
        return AssistantMessage(tool_calls=(ToolCall("c0", "look", '{"city": "Paris"}'),))
    return AssistantMessage("Rain.")

agent = Agent(FunctionModel(reply), tools=[look])
cases = [
    Case("Paris", [expect(look, city="Paris")], tags=["good"]),
    Case("Rome", [expect(look, city="Rome")], tags=["bad"]),
]
none = []
"""


@pytest.fixture(autouse=True)
def cases(folder: Path) -> None:
    (folder / "cases.py").write_text(CASES)


def test_a_table_and_exit_codes() -> None:
    done = give("eval", "cases.py")
    assert (done.exit_code, "no call look(city='Rome')" in done.stdout) == (1, True)
    assert give("eval", "cases.py:agent", "--tag", "good", "--repeats", "2").exit_code == 0
    assert give("eval", "cases.py", "--require", "0.5").exit_code == 0


def test_json_junit_and_a_journal(folder: Path) -> None:
    files = ("--junit", "report.xml", "--journal", "j.jsonl")
    done = give("eval", "cases.py", "--cases", "cases.py:cases", "--json", *files)
    assert json.loads(done.stdout)["passed"] == 1
    assert ET.parse(folder / "report.xml").getroot().get("failures") == "1"  # noqa: S314 (its own)
    assert {"j.jsonl", "j.jsonl.db"} <= {path.name for path in folder.iterdir()}


def test_wrong_usage() -> None:
    for words in (["cases.py", "--cases", "cases.py:none"], ["cases.py", "--cases", "cases.py:x"], ["m:a"]):
        done = give("eval", *words)
        assert (done.exit_code, done.stdout) == (2, "")
    assert give("eval", "cases.py", "--cases", "cases.py:look").exit_code == 2
    assert give("eval", "cases:agent", "--cases", "cases").exit_code == 1
