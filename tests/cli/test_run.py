import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.cli import run as running
from agentkit.cli.live_view import console_for
from agentkit.testing import Chaos, Reply, answer, calling, chaos, status
from tests.cli.commands import Weather, give, terminal
from tests.programs import PATIENCE, started

TYPED = "from agentkit import Agent\nfrom pydantic import BaseModel\nclass Sky(BaseModel):\n    rain: bool\nagent = Agent('m', output=Sky, output_mode='format')\n"
SLOW = "import time\nfrom agentkit import Agent, tool\n@tool\ndef get_weather(city: str) -> str:\n    '''Look.'''\n    time.sleep(1000)\n    return ''\nagent = Agent('m', tools=[get_weather])\n"
ANSWER = "I heard: light rain in Paris\n"
SAVED = "agentkit: the conversation is saved in a.db:main"


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chaos]:
    with chaos(Weather()) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        yield served


def test_the_answer_goes_to_stdout_and_all_else_to_stderr(endpoint: Chaos) -> None:
    done = give("run", "weather.py", "Will", "it", "rain?")
    assert (done.exit_code, done.stdout) == (0, ANSWER)
    first, printed, last = done.stderr.splitlines()
    assert (first, printed) == ('→ get_weather(city="Paris")', "the tool prints")
    assert (last[:14], last[-22:]) == ("← get_weather ", " s light rain in Paris")
    assert "stream" not in endpoint.requests[0]
    assert give("run", "weather.py", "-q", "rain?").stderr == "the tool prints\n"
    verbose = give("run", "weather.py", "-v", "rain?").stderr
    assert "step 0: request, tool choice auto\n" in verbose
    assert "\nanswer: 2 requests, 30 tokens\n" in verbose
    assert all(character.isprintable() or character == "\n" for character in verbose)


@pytest.mark.parametrize(("words", "stdin", "prompt"), [
    (["Hello"], "", "Hello"), ([], "Hello\n", "Hello"), (["-"], "Hello", "Hello"),
    (["Review", "this"], "+ a line\n", "Review this\n\n+ a line"), (["Is", "-", "good?"], "it\n", "Is it good?"),
])  # fmt: skip
def test_the_prompt_comes_from_the_words_and_a_pipe(words: list[str], stdin: str, prompt: str, endpoint: Chaos) -> None:
    assert give("run", "weather.py", *words, stdin=stdin).stdout == "Hello to you\n"
    assert endpoint.requests[0]["messages"] == [{"role": "user", "content": prompt}]


class Pipe(io.StringIO):
    """A pipe, or a terminal, that ends when something was noticed."""

    def __init__(self, noticed: threading.Event, *, terminal: bool) -> None:
        super().__init__(" it ")
        self._noticed, self._terminal = noticed, terminal

    def isatty(self) -> bool:
        return self._terminal

    def read(self, size: int | None = -1) -> str:
        assert self._terminal or self._noticed.wait(60)
        return super().read(size)


def test_a_pipe_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    noticed, texts = threading.Event(), list[str]()

    def notice(text: str) -> None:
        texts.append(text)
        noticed.set()

    monkeypatch.setattr(running, "print_notice", notice)
    monkeypatch.setattr(running, "_SECONDS_TO_HINT", 0)
    assert running.read_prompt(["Is"], Pipe(noticed, terminal=False), optional=False) == "Is\n\nit"
    assert len(texts) == 1
    assert running.read_prompt(["Is", "-"], Pipe(noticed, terminal=True), optional=False) == "Is it"
    assert running.read_prompt(["Is"], Pipe(noticed, terminal=True), optional=False) == "Is"
    assert len(texts) == 1


def test_options_of_a_model_by_name_are_sent(endpoint: Chaos) -> None:
    sampling = ["--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "9", "--seed", "7"]
    done = give("run", "m", "Hello", "--system", "Be brief.", *sampling, "--reasoning-effort", "low")
    assert done.stdout == "Hello to you\n"
    sent = endpoint.requests[0]
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    names = ("temperature", "top_p", "max_tokens", "seed", "reasoning_effort")
    assert [sent[name] for name in names] == [0.5, 0.9, 9, 7, "low"]
    wrong = give("run", "m", "Hello", "--temperature", "5")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "temperature" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "env", "text"),
    [
        ([], {}, "agentkit run TARGET"),
        (["--json", "Hello"], {"AGENTKIT_BASE_URL": ""}, "use --base-url and --api-key."),
    ],
)
def test_wrong_usage(words: list[str], env: dict[str, str], text: str) -> None:
    done = give("run", "weather.py", *words, env=env)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("agentkit: ")
    assert text in done.stderr


def test_the_result_as_json(endpoint: Chaos) -> None:
    done = give("run", "weather.py", "--json", "--stream", "rain?")
    data = json.loads(done.stdout)
    assert done.stdout.isascii()
    assert (data["output"], data["stop"], data["pending"], data["start"]) == (ANSWER[:-1], "answer", [], 1)
    assert list(data["usage"].values()) == [2, 20, 10, None, None]
    assert [message["role"] for message in data["messages"]] == ["user", "assistant", "tool", "assistant"]
    steps = [(step["calls"], step["finish_reason"], step["choice"]) for step in data["steps"]]
    assert steps == [(["get_weather"], "tool_calls", "auto"), ([], "stop", "auto")]
    assert give("run", "weather.py", "--stream", "rain?").stdout == ANSWER
    assert [request.get("stream", False) for request in endpoint.requests] == [False, False, True, True]


REFUSAL = {"choices": [{"message": {"role": "assistant", "refusal": "I cannot"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(("file", "reply", "wanted"), [
    ("weather.py", answer("a\x1b[2J\n"), (0, "a\\u001b[2J\n", "")),
    ("weather.py", answer(""), (1, "", "agentkit: the model's answer is empty\n")),
    ("weather.py", status(200, body=REFUSAL), (1, "I cannot\n", "agentkit: the model refused to answer\n")),
    ("typed.py", answer('{"rain": true}'), (0, '{\n  "rain": true\n}\n', "")),
])  # fmt: skip
def test_the_exit_code_says_whether_there_is_an_answer(
    file: str, reply: Reply, wanted: tuple[int, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("typed.py").write_text(TYPED)
    with chaos(reply) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        done = give("run", file, "-q", "Hello")
    assert (done.exit_code, done.stdout, done.stderr) == wanted


def test_a_failed_run_is_one_line_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    with chaos(status(404, body={"error": {"message": "no such model"}})) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        done = give("run", "weather.py", "--json", "--session", "a.db", "Hello")
        plain = give("run", "weather.py", "Hello")
    data = json.loads(done.stdout)
    assert (done.exit_code, plain.exit_code, plain.stdout, plain.stderr.count("\n")) == (1, 1, "", 1)
    assert (data["output"], data["error"]["type"], len(data["messages"])) == (None, "RequestRefused", 1)
    assert (data["agent"], data["steps"], data["calls"], data["start"]) == ("agent", [], [], 0)
    saved, failed = done.stderr.splitlines()
    assert saved == SAVED
    assert "no such model" in failed


def test_a_session_is_resumed(endpoint: Chaos) -> None:
    for prompt in ("Hello", "And you?"):
        assert give("run", "weather.py", "--session", "a.db:ann", prompt).exit_code == 0
    assert [message["content"] for message in endpoint.requests[1]["messages"]] == ["Hello", "Hello to you", "And you?"]


def test_in_a_pipe_a_run_pauses_for_approval() -> None:
    done = give("run", "weather.py", "book it")
    assert (done.exit_code, done.stdout) == (3, "")
    pending, hint = done.stderr.splitlines()
    assert pending == 'agentkit: waiting for approval: book_table(place="Ritz")'
    assert "--session FILE" in hint
    done = give("run", "weather.py", "--json", "--session", "a.db", "book it")
    assert [call["function"]["name"] for call in json.loads(done.stdout)["pending"]] == ["book_table"]
    assert (done.exit_code, done.stderr.split()[-2:]) == (3, ["--session", "a.db:main"])


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
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert running.terminal_approver(console_for(sys.stderr)) is None
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert running.terminal_approver(console_for(sys.stderr)) is not None


def test_a_closed_pipe_is_no_crash() -> None:
    command = [sys.executable, "-m", "agentkit", "run", "weather.py", "--json", "-q", "rain?"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.close()
        assert run.stderr is not None
        assert (run.stderr.read(), run.wait(PATIENCE)) == ("the tool prints\n", 1)


def test_ctrl_c_stops_a_run_at_once_and_keeps_the_conversation(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "agentkit", "run", "slow.py", "--session", "a.db", "rain?"]
    with started(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stderr is not None
        assert run.stderr.readline() == '→ get_weather(city="Paris")\n'
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=PATIENCE)
    assert (run.returncode, out, err) == (130, "", f"{SAVED}\nagentkit: stopped\n")
    assert "get_weather" in give("replay", "a.db").stdout


def test_a_run_that_paused_in_a_pipe_is_resumed_at_a_terminal(endpoint: Chaos) -> None:
    assert give("run", "weather.py", "--session", "a.db", "book it").exit_code == 3
    with terminal("run", "weather.py", "--session", "a.db", env={"NO_COLOR": "1"}) as shown:
        shown.expect('? Run book_table(place="Ritz")?')
        shown.expect("[y/n/e/?]")
        shown.type("n too dear\r")
        shown.expect("did not allow this call: too dear.\r\n")
        assert shown.end() == 0
    assert endpoint.requests[-1]["stream"]
    assert "\x1b[33m←" not in shown.raw


WATCHED = "from agentkit import ToolFinished, ToolStarted\nfrom weather import agent as plain\ndef show(event):\n    if isinstance(event, ToolStarted):\n        print('mine', event.call.name)\n    if isinstance(event, ToolFinished):\n        print('mine', event.message.content)\nagent = plain.with_observers(show)\n"


def test_a_call_that_the_agent_shows_itself_is_shown_once(folder: Path) -> None:
    (folder / "watched.py").write_text(WATCHED)
    done = give("run", "watched.py", "rain?")
    assert done.stderr.splitlines() == ["mine get_weather", "the tool prints", "mine light rain in Paris"]


def test_a_terminal_has_colours() -> None:
    with terminal("run", "weather.py", "rain?") as shown:
        shown.expect("I heard: light rain in Paris\r\n")
        assert shown.end() == 0
    assert "\x1b[36m→" in shown.raw


def test_a_run_that_fails_later_keeps_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    with chaos(calling(("get_weather", {"city": "Paris"})), status(400)) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        data = json.loads(give("run", "weather.py", "--json", "rain?").stdout)
    assert ([step["calls"] for step in data["steps"]], data["start"]) == ([["get_weather"]], 1)
    assert (data["calls"][0]["id"], data["calls"][0]["seconds"] >= 0, data["seconds"] >= 0) == (
        data["messages"][1]["tool_calls"][0]["id"],
        True,
        True,
    )
    assert (data["error"]["type"], len(data["messages"])) == ("RequestRefused", 3)
