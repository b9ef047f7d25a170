import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.cli import run as running
from agentkit.cli.live_view import console_for
from agentkit.testing import Chaos, Reply, answer, chaos, status
from tests.cli.commands import Weather, give, process, terminal
from tests.programs import PATIENCE, started

TYPED = "from agentkit import Agent\nfrom pydantic import BaseModel\nclass Sky(BaseModel):\n    rain: bool\nagent = Agent('m', output=Sky, output_mode='format')\n"
SLOW = "import time\nfrom agentkit import Agent, tool\n@tool\ndef get_weather(city: str) -> str:\n    '''Look.'''\n    time.sleep(1000)\n    return ''\nagent = Agent('m', tools=[get_weather])\n"


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chaos]:
    with chaos(Weather()) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        yield served


def test_the_answer_goes_to_stdout_and_all_else_to_stderr() -> None:
    done = give("run", "weather.py", "Will", "it", "rain?")
    assert (done.exit_code, done.stdout) == (0, "I heard: light rain in Paris\n")
    first, printed, last = done.stderr.splitlines()
    assert (first, printed) == ('→ get_weather(city="Paris")', "the tool prints")
    assert last.startswith("← get_weather ")
    assert last.endswith("s light rain in Paris")


@pytest.mark.parametrize(("words", "stdin"), [(["Hello"], ""), ([], "Hello\n"), (["-"], "Hello")])
def test_the_prompt_comes_from_the_words_or_from_a_pipe(words: list[str], stdin: str, endpoint: Chaos) -> None:
    assert give("run", "weather.py", *words, stdin=stdin).stdout == "Hello to you\n"
    assert endpoint.requests[0]["messages"] == [{"role": "user", "content": "Hello"}]


def test_less_or_more_is_shown() -> None:
    assert give("run", "weather.py", "-q", "rain?").stderr == "the tool prints\n"
    shown = give("run", "weather.py", "-v", "rain?").stderr
    assert "step 0: request, tool choice auto\n" in shown
    assert "\nanswer: 2 requests, 30 tokens\n" in shown


def test_without_a_prompt_there_is_no_run() -> None:
    done = give("run", "weather.py")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("agentkit: the prompt is missing: agentkit run TARGET ")


def test_the_whole_result_is_given_as_json() -> None:
    done = give("run", "weather.py", "--json", "--stream", "rain?")
    data = json.loads(done.stdout)
    assert done.stdout.isascii()
    assert (data["output"], data["stop"], data["pending"], data["start"]) == (
        "I heard: light rain in Paris",
        "answer",
        [],
        1,
    )
    assert data["usage"] == {
        "requests": 2,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "cached_tokens": None,
        "cost": None,
    }
    assert [message["role"] for message in data["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert [(step["calls"], step["finish_reason"], step["choice"]) for step in data["steps"]] == [
        (["get_weather"], "tool_calls", "auto"),
        ([], "stop", "auto"),
    ]


def test_text_is_streamed_where_it_is_wanted(endpoint: Chaos) -> None:
    assert give("run", "weather.py", "--stream", "rain?").stdout == "I heard: light rain in Paris\n"
    assert [request.get("stream") for request in endpoint.requests] == [True, True]
    give("run", "weather.py", "Hello")
    assert "stream" not in endpoint.requests[2]


def test_a_typed_answer_is_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "typed.py").write_text(TYPED)
    with chaos(answer('{"rain": true}')) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        assert give("run", "typed.py", "Hello").stdout == '{\n  "rain": true\n}\n'
        assert json.loads(give("run", "typed.py", "--json", "Hello").stdout)["output"] == {"rain": True}


@pytest.mark.parametrize(
    ("reply", "code", "out", "err"),
    [
        (answer("a\x1b[2J\n"), 0, "a�[2J\n", ""),
        (answer(""), 1, "", "agentkit: the model's answer is empty\n"),
        (
            status(
                200,
                body={"choices": [{"message": {"role": "assistant", "refusal": "I cannot"}, "finish_reason": "stop"}]},
            ),
            1,
            "I cannot\n",
            "agentkit: the model refused to answer\n",
        ),
    ],
)
def test_the_code_says_whether_there_is_an_answer(
    reply: Reply, code: int, out: str, err: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chaos(reply) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        done = give("run", "weather.py", "-q", "Hello")
    assert (done.exit_code, done.stdout, done.stderr) == (code, out, err)


def test_a_failure_is_one_line_and_json_where_that_is_wanted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = status(404, body={"error": {"message": "no such model"}})
    with chaos(refusal) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        done = give("run", "weather.py", "--json", "--session", "a.db", "Hello")
        plain = give("run", "weather.py", "Hello")
    data = json.loads(done.stdout)
    assert (done.exit_code, plain.exit_code, plain.stdout) == (1, 1, "")
    assert plain.stderr.count("\n") == 1
    assert (data["output"], data["error"]["type"], len(data["messages"])) == (None, "RequestRefused", 1)
    kept, failed = done.stderr.splitlines()
    assert kept == "agentkit: the conversation is saved in a.db:main"
    assert failed.startswith("agentkit: ")
    assert "no such model" in failed


def test_without_an_endpoint_nothing_is_tried() -> None:
    done = give("run", "weather.py", "--json", "Hello", env={"AGENTKIT_BASE_URL": ""})
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("agentkit: ")
    assert "set AGENTKIT_BASE_URL" in done.stderr


def test_a_conversation_is_kept_and_goes_on(endpoint: Chaos) -> None:
    for prompt in ("Hello", "And you?"):
        assert give("run", "weather.py", "--session", "a.db:ann", prompt).exit_code == 0
    assert [message["content"] for message in endpoint.requests[1]["messages"]] == ["Hello", "Hello to you", "And you?"]


def test_in_a_pipe_a_run_pauses_where_someone_must_decide() -> None:
    done = give("run", "weather.py", "book it")
    assert (done.exit_code, done.stdout) == (3, "")
    waits, way_out = done.stderr.splitlines()
    assert waits == 'agentkit: waiting for approval: book_table(place="Ritz")'
    assert "--session FILE" in way_out
    done = give("run", "weather.py", "--json", "--session", "a.db", "book it")
    assert done.exit_code == 3
    assert [call["function"]["name"] for call in json.loads(done.stdout)["pending"]] == ["book_table"]
    assert done.stderr.endswith("resume at a terminal: agentkit run TARGET --session a.db:main\n")
    assert give("run", "weather.py", "--session", "a.db").exit_code == 3


def test_a_request_is_shown_and_not_sent(endpoint: Chaos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_API_KEY", "sk-secret-key")
    shown = give("run", "weather.py", "--dry-run", "Hello").stdout
    assert shown.startswith(f"POST {endpoint.url}/chat/completions\n")
    curl = give("run", "weather.py", "--curl", "--stream", "Hello").stdout
    assert curl.startswith("curl -g ")
    assert '"stream":true' in curl
    assert "secret" not in shown + curl
    assert endpoint.requests == []
    give("run", "weather.py", "--session", "a.db", "Hello")
    assert "Hello to you" in give("run", "weather.py", "--session", "a.db", "--dry-run", "More").stdout
    assert give("run", "weather.py", "--session", "a.db", "--dry-run").exit_code == 2


def test_an_approver_needs_a_terminal_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    err = console_for(sys.stderr)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert running.terminal_approver(err) is None
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert running.terminal_approver(console_for(sys.stderr)) is not None


def test_in_a_pipe_there_is_no_colour_and_no_control() -> None:
    done = process("run", "weather.py", "-v", "rain?")
    assert (done.returncode, done.stdout) == (0, "I heard: light rain in Paris\n")
    assert all(character.isprintable() or character == "\n" for character in done.stderr)


def test_a_pipe_that_is_closed_is_no_crash() -> None:
    command = [sys.executable, "-m", "agentkit", "run", "weather.py", "--json", "-q", "rain?"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.close()
        assert run.stderr is not None
        assert run.stderr.read() == "the tool prints\n"
        assert run.wait(PATIENCE) == 1


def test_ctrl_c_stops_a_run_at_once_and_keeps_what_was_said(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "agentkit", "run", "slow.py", "--session", "a.db", "rain?"]
    with started(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stderr is not None
        assert run.stderr.readline() == '→ get_weather(city="Paris")\n'
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=PATIENCE)
    assert (run.returncode, out) == (130, "")
    assert err == "agentkit: the conversation is saved in a.db:main\nagentkit: stopped\n"
    assert "get_weather" in give("replay", "a.db").stdout


def test_at_a_terminal_someone_decides_and_text_comes_as_it_is_written(endpoint: Chaos) -> None:
    with terminal("run", "weather.py", "--session", "a.db", "book it") as shown:
        shown.expect('? Run book_table(place="Ritz")?')
        shown.expect("[y/n/e/?]")
        shown.type("y\r")
        shown.expect("← book_table")
        shown.expect("I heard: a table for 2 at Ritz\r\n")
        assert shown.end() == 0
    assert all(request["stream"] for request in endpoint.requests)


def test_a_run_that_was_paused_in_a_pipe_goes_on_at_a_terminal() -> None:
    assert give("run", "weather.py", "--session", "a.db", "book it").exit_code == 3
    with terminal("run", "weather.py", "--session", "a.db") as shown:
        shown.expect("[y/n/e/?]")
        shown.type("n too dear\r")
        shown.expect("did not allow this call: too dear.\r\n")
        assert shown.end() == 0


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_has_colours_unless_they_are_not_wanted(env: dict[str, str], coloured: bool) -> None:
    with terminal("run", "weather.py", "rain?", env=env) as shown:
        shown.expect("I heard: light rain in Paris\r\n")
        assert shown.end() == 0
    assert ("\x1b[36m→" in shown.raw) == coloured
