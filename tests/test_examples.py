"""The examples, run as a user runs them: each in a process of its own, on the embedded local model."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.endpoint import calls, serving, text

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.local


def run(name: str, *arguments: str, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    everything = {**os.environ, **(environment or {})}
    done = subprocess.run(  # noqa: S603 (a file of this repository)
        command, capture_output=True, text=True, timeout=600, check=False, env=everything, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_weather_bot_calls_its_tool_and_answers() -> None:
    lines = run("weather.py").splitlines()
    assert lines[0] == "What is the weather in Paris?"
    assert lines[1].startswith("→ get_weather(")
    assert '"Paris"' in lines[1]
    assert lines[2].startswith('← {"city":"Paris","temperature":18.0')
    assert "18" in lines[3]


def test_the_assistant_holds_a_conversation() -> None:
    said = run("assistant.py")
    assert "> Where is order 1042?\n→ find_order(" in said
    assert "> And where is order 1041?" in said
    assert '"number":1042' in said


def test_the_assistant_uses_all_its_tools_on_another_endpoint() -> None:
    script = [
        calls(("find_order", {"number": 1042}), ("shipping_cost", {"country": "France", "express": "true"})),
        text("It is due on 18 December; express costs 9.80 euros."),
        calls(("take_note", {"text": "call back"}), ("find_order", {"number": 7})),
        text("There is no order 7; I took a note."),
    ]
    with serving(*script) as endpoint:
        settings = {"AGENTKIT_MODEL": "m", "AGENTKIT_BASE_URL": endpoint.url}
        said = run("assistant.py", "Where is 1042?", "And 7?", environment=settings)
    assert "It is due on 18 December; express costs 9.80 euros." in said
    answers = [message["content"] for message in endpoint.requests[-1]["messages"] if message["role"] == "tool"]
    assert answers == [
        '{"number":1042,"item":"office chair","status":"in production","due":"2026-12-18"}',
        "9.8",
        "note 1 taken",
        "ValueError: there is no order 7",
    ]
    assert [request["tool_choice"] for request in endpoint.requests] == ["required", "none", "required", "none"]


def test_the_automation_finishes_in_order_although_a_step_fails() -> None:
    lines = run("automation.py").splitlines()
    called = [line.split("(")[0].split()[-1] for line in lines if line.startswith("   called ")]
    assert called == ["fetch_orders", "fetch_orders", "compute_total", "send_report"]
    assert lines.count("   error: TimeoutError: the database did not answer; try again") == 1
    assert lines[-1] == "Alice: 200.50 euros"


def test_a_conversation_goes_on_in_another_process(tmp_path: Path) -> None:
    first = run("remembering.py", "The secret word is banana.", cwd=tmp_path)
    assert first.startswith("1 prompts so far\n")
    second = run("remembering.py", "What is the secret word?", cwd=tmp_path)
    assert second == "2 prompts so far\nThe secret word is banana.\n"
    (tmp_path / "elsewhere").mkdir()
    assert "banana" not in run("remembering.py", "What is the secret word?", cwd=tmp_path / "elsewhere")


def test_a_text_becomes_a_value() -> None:
    assert run("extract.py") == "3 days in Rome, in May\n"


@pytest.mark.parametrize(
    ("question", "lines"),
    [
        (
            "What is the weather in Paris?",
            ["→ ask_weather_desk({})", "  weather_desk", '  → get_weather({"city":"Paris"})'],
        ),
        ("Where is order 1042?", ["→ ask_order_desk({})", "  order_desk", '  → find_order({"number":1042})']),
    ],
)
def test_the_reception_hands_each_question_over(question: str, lines: list[str]) -> None:
    said = run("team.py", question).splitlines()
    assert said[:5] == [question, "reception", *lines]
    assert len(said) == 6


def test_many_inputs_are_asked_once(tmp_path: Path) -> None:
    first = run("many.py", cwd=tmp_path).splitlines()
    assert [line.partition(":")[0] for line in first[:-1]] == ["France", "Italy", "Norway", "Egypt"]
    assert "Paris" in first[0]
    assert first[-1].startswith("4 done, 4 requests, ")
    again = run("many.py", cwd=tmp_path).splitlines()
    assert again[:-1] == first[:-1]
    assert again[-1] == first[-1].replace("4 done", "4 done (4 before)")
