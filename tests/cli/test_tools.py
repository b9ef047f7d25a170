import json
from pathlib import Path

import pytest

from agentkit import Agent, Tool
from agentkit.cli.tools import PROFILES, format_parameters
from agentkit.testing.lint import tokens_of
from tests.cli.commands import give

ODD = """
from agentkit import Agent, Tool, tool

@tool
def Do(x) -> str:
    return ""

schema = {"type": "object", "properties": {"a": {"type": "array", "description": "What to sort."}}}
sort = Tool.from_schema(print, name="sort_words", description="Sort words by the alphabet.", parameters=schema)
agent = Agent("m", tools=[Do, sort])
"""


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    (folder / "odd.py").write_text(ODD)
    (folder / "none.py").write_text("from agentkit import Agent\nagent = Agent('m')\n")


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_table_has_parameters_and_tokens() -> None:
    done = give("tools", "weather.py")
    header, first, second, total, last = rows(done.stdout)
    assert (done.exit_code, header, first[:3]) == (0, ["tool", "takes", "tokens"], ["get_weather", "city:", "string"])
    assert (second[:5], second[-1]) == (["book_table", "place:", "string,", "people?:", "integer"], "approval")
    assert (total[:2], last) == (["2", "tools"], ["no", "problems", "found"])
    assert rows(give("tools", "none.py").stdout)[1] == ["0", "tools", str(tokens_of([]))]


def test_problems_are_listed_and_may_fail_the_command() -> None:
    done = give("tools", "odd.py")
    *_, last = done.stdout.splitlines()
    assert (done.exit_code, last) == (0, "5 warnings, 2 notes")
    assert "warning Do: it has no description, " in done.stdout
    assert "warning Do.x: it has no type; annotate it: a model may send anything (untyped-parameter)\n" in done.stdout
    assert give("tools", "odd.py", "--strict").exit_code == 1
    done = give("tools", "odd.py", "--profile", "openai")
    assert done.exit_code == 1
    assert "\nerror sort_words.a: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 error, ")


def test_json_and_schemas() -> None:
    done = give("tools", "odd.py", "--json", "--profile", "openai")
    data = json.loads(done.stdout)
    assert (done.exit_code, data["counts"]["error"]) == (1, 1)
    assert [(tool["name"], tool["takes"]) for tool in data["tools"]] == [("Do", "x: any"), ("sort_words", "a?: any[]")]
    assert data["tokens"] > data["tools"][0]["tokens"] > 0
    rules = {finding["rule"] for finding in data["findings"]}
    assert rules >= {"no-description", "untyped-parameter", "list-of-anything"}
    (spec, _) = json.loads(give("tools", "weather.py", "--schema").stdout)
    assert (spec["function"]["name"], spec["function"]["parameters"]["required"]) == ("get_weather", ["city"])


def test_an_unknown_profile() -> None:
    done = give("tools", "weather.py", "--profile", "foo")
    assert done.exit_code == 2
    assert done.stderr.startswith("agentkit: there is no profile 'foo'; the profiles are standard, openai, ")
    assert "llama-cpp" in PROFILES


@pytest.mark.parametrize(("schema", "shown"), [
    ({"type": "string"}, "string"), ({"enum": ["é", 1]}, '"é" | 1'), ({"const": None}, "null"),
    ({"$ref": "#/$defs/Order"}, "Order"),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
    ({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]}, "string | integer[]"),
    ({"type": "array", "items": {"enum": [1, 2]}}, "(1 | 2)[]"),
    ({"type": "array"}, "any[]"), ({"type": ["string", "null"]}, "string | null"), ({}, "any"),
])  # fmt: skip
def test_a_type_is_written_in_few_words(schema: dict[str, object], shown: str) -> None:
    parameters = {"type": "object", "properties": {"a": schema}, "$defs": {"Order": {"type": "object"}}}
    tool = Tool.from_schema(print, name="f", description="", parameters=parameters)
    assert format_parameters(tool) == f"a?: {shown}"
    assert Agent("local", tools=[tool]).tools.names == {"f"}
