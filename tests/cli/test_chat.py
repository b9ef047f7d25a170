import io
import re
import shutil
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import anyio
import pytest

from agentkit import Agent, Decision, approve, deny, tool
from agentkit.cli import chat as chatting
from agentkit.cli.chat import COMMANDS, Chat
from agentkit.cli.interrupts import wake_on_ctrl_c
from agentkit.cli.live_view import LiveView, console_for
from agentkit.cli.session_argument import SessionArgument, parse_session_argument
from agentkit.cli.targets import Target
from agentkit.core.messages import ToolCall
from agentkit.testing import Chaos, answer, calling, chaos, status
from tests.cli.commands import Weather, give, terminal

Typed = str | type[BaseException]


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chaos]:
    with chaos(Weather()) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        yield served


def later(_: ToolCall) -> None:
    """Decide on nothing."""


def chatted(
    *typed: Typed,
    place: SessionArgument | None = None,
    agent: Agent | None = None,
    decide: Callable[[ToolCall], Decision | None] = approve,
    interrupted: bool = False,
) -> str:
    """A conversation in which a person types this; what is shown."""
    both, left = io.StringIO(), iter(typed)

    async def read() -> str:
        await anyio.lowlevel.checkpoint()
        line = next(left, EOFError)
        both.write(f"> {line}\n")
        if isinstance(line, str):
            return line
        raise line

    async def approver(call: ToolCall) -> Decision | None:
        await anyio.lowlevel.checkpoint()
        return decide(call)

    async def go() -> None:
        async with Target("weather.py").opened() as loaded:
            err, stored = console_for(both), place or parse_session_argument(None)
            chat = Chat(agent or loaded, stored, LiveView(both, err), both, err, approver, read)
            with wake_on_ctrl_c(chat.interrupt):
                if interrupted:
                    signal.raise_signal(signal.SIGINT)
                await chat.loop()

    anyio.run(go)
    return both.getvalue()


def test_prompts_are_answered(endpoint: Chaos) -> None:
    shown = chatted("Hello", "", "Will it rain?")
    assert re.sub(r"\d\.\d\d s", "0.00 s", shown) == (
        "m, 2 tools; /help, Ctrl-D leaves\n"
        "> Hello\nHello to you\n"
        "> \n"
        '> Will it rain?\n→ get_weather(city="Paris")\nthe tool prints\n← get_weather 0.00 s light rain in Paris\nI heard: light rain in Paris\n'
        "> <class 'EOFError'>\n"
    )
    assert len(endpoint.requests[2]["messages"]) == 5
    assert all(request["stream"] for request in endpoint.requests)


def test_calls_wait_for_approval() -> None:
    assert "I heard: a table for 2 at Ritz\n" in chatted("book it")
    assert "← book_table refused 0.00 s Not run: " in chatted("book it", decide=partial(deny, reason="too dear"))
    shown = chatted("book it", "/continue", decide=later)
    assert shown.count('waiting for approval: book_table(place="Ritz"). /continue asks again\n') == 2


def test_commands(folder: Path) -> None:
    commands = [name for name in COMMANDS if name != "/quit"]
    files = ["/save a.json", "/save a.json", "/nothing"]
    shown = chatted("/history", "Will it rain?", *commands, "Hello", *files, "/quit now", "Never")
    assert "Never" not in shown
    for name, (_, text) in COMMANDS.items():
        assert f"{name:<14}{text}\n" in shown
    for line in (
        "no messages yet",
        "get_weather          Look up the current weather in a city.",
        "in this chat: 2 requests, 30 tokens",
        "2.      I heard: light rain in Paris",
        "the conversation is deleted",
        "saved 2 messages; agentkit replay a.json shows them",
        "there is no command /nothing; /help lists them",
    ):
        assert f"{line}\n" in shown
    assert "/save needs a file" in shown
    assert "FileExistsError" in shown
    assert stat.S_IMODE((folder / "a.json").stat().st_mode) == 0o600
    assert give("replay", "a.json").stdout.startswith("you     Hello\n1.      Hello to you\n")


def test_a_conversation_is_stored_resumed_and_deleted(endpoint: Chaos) -> None:
    place = parse_session_argument("a.db:ann")
    chatted("Hello", place=place)
    shown = chatted("More", "/clear", "/history", "/clear yes", "/history", place=place)
    assert "resuming a.db:ann, 2 messages; /history shows them.\n" in shown
    assert "to confirm: /clear yes\n" in shown
    assert shown.endswith("the conversation is deleted\n> /history\nno messages yet\n> <class 'EOFError'>\n")
    chatted("book it", place=place, decide=later)
    assert "Calls wait for approval: /continue\n" in chatted(place=place)


@tool(ends=True)
def finish() -> str:
    """Finish the conversation with the user."""
    return "That is all"


def test_failures_and_other_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no tools\n" in chatted("/tools", agent=Agent("m"))
    with chaos(status(400), answer("Here I am"), calling(("finish", {}))) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        shown = chatted("Hello", "/continue", "Finish", agent=Agent("m", tools=[finish], instructions="Be brief."))
    assert "400" in shown.partition("> /continue\nHere I am\n")[0]
    assert "\nThat is all\n" in shown


@pytest.mark.parametrize(("typed", "left"), [
    (["exit", "Hello"], True), (["Quit", "Hello"], True), (["quit smoking", "Hello"], False),
    ([KeyboardInterrupt, KeyboardInterrupt, "Hello"], True),
    ([KeyboardInterrupt, "Hello", KeyboardInterrupt], False),
    ([EOFError, "Hello"], True),
])  # fmt: skip
def test_ctrl_c_twice_ctrl_d_exit_and_quit_leave(typed: Sequence[Typed], left: bool) -> None:
    assert ("Hello to you" not in chatted(*typed)) == left


def test_ctrl_c_stops_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatting, "_SECONDS_TO_HINT", 0)

    @tool
    async def wait() -> None:
        """Wait for something to happen."""
        signal.raise_signal(signal.SIGINT)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with chaos(calling(("wait", {})), answer("And on")) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        shown = chatted("Hello", "/usage", "More", agent=Agent("m", tools=[wait]))
    hint = "not stopped yet; Ctrl-C again ends the program at once"
    stopped = "stopped; /continue resumes"
    cost = "in this chat: 1 request, 15 tokens"
    assert f"→ wait()\n{hint}\n\n{stopped}\n> /usage\n{cost}\n" in shown
    assert "And on\n" in shown
    assert signal.getsignal(signal.SIGINT) is before

    @tool
    async def stop() -> None:
        """Stop at once, before the hint."""
        signal.raise_signal(signal.SIGINT)
        await anyio.sleep_forever()

    with chaos(calling(("stop", {}))) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        assert "stopped; /continue" in chatted("Hello", "/usage", "/usage", "/usage", agent=Agent("m", tools=[stop]))


def test_ctrl_c_between_an_answer_and_the_next_prompt_does_nothing() -> None:
    assert "Hello to you\n" in chatted("Hello", interrupted=True)


def test_a_chat_needs_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def leave(_: Chat) -> None:
        await anyio.lowlevel.checkpoint()

    done = give("chat", "weather.py")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("agentkit: chat needs a terminal; ")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(Chat, "loop", leave)
    for session, saved in (("a.db", True), (None, False)):
        assert anyio.run(chatting.chat, Target("weather.py"), session, 0) == 0
        assert ("saved in a.db:main" in capsys.readouterr().err) == saved


def test_a_person_at_a_terminal(folder: Path) -> None:
    slow = "import time\nfrom weather import *\n@tool\ndef get_weather(city: str) -> str:\n    '''Look.'''\n    time.sleep(1000)\nagent = Agent('m', tools=[get_weather, book_table])\n"
    (folder / "slow.py").write_text(slow)
    with terminal("chat", "slow.py", "--session", "a.db") as person:
        for keys, *shown in (
            ("", "m, 2 tools; /help, Ctrl-D leaves\r\n", ">"),
            ("Hel\x1b\rlo\r", "Hello to you\r\n", ">"),
            ("book it\r", "? Run ", "[y/n/e/?]"),
            ("e\r", "arguments:"),
            ('\x01\x0b{"place": "Savoy"}\r', "I heard: ", "a table for 2 at Savoy\r\n", ">"),
            ("rain?\r", '→ get_weather(city="Paris")\r\n'),
            ("\x03", "stopped; /continue resumes", ">"),
            ("\x03", "to leave: Ctrl-C again", ">"),
            ("/usage\r", "4 requests, 60 tokens", ">"),
            ("\x04", "saved in a.db:main"),
        ):
            person.type(keys)
            for text in shown:
                person.expect(text)
        assert person.end() == 0  # though the tool sleeps on in its thread
    history = (folder / "config/agentkit/history").read_text()
    assert "+Hel\n+lo\n" in history
    assert "Savoy" not in history


SLEEPY = """
import time
from weather import *
@tool
def get_weather(city: str) -> str:
    time.sleep(1.2)
    return "a **light** rain\\x1b[2J"
agent = Agent("m", tools=[get_weather, book_table])
"""


def test_in_tmux_a_person_sees_what_is_waited_for_and_leaves_with_a_word(folder: Path) -> None:
    (folder / "sleepy.py").write_text(SLEEPY)
    tmux = shutil.which("tmux")  # without it, the terminal is the emulator alone
    server = [str(tmux), "-S", str(folder / "tmux"), "-f", "/dev/null", "-u"]
    with terminal("chat", "sleepy.py", within=[*server, "new-session"] if tmux else ()) as person:
        person.shows("/help, Ctrl-D leaves")
        person.type("rain?\r")
        person.shows(r"\n[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] get_weather 1 s")
        screen = person.shows(r"(?m)^I heard: a light rain\\u001b\[2J$")  # the bold type took the stars away
        assert screen.count("→ get_weather") == 1
        assert " 1 s\n" not in screen
        person.type("book it\r")
        person.shows(r"\[y/n/e/\?\]")
        person.type("sure\r")
        person.shows("(?m)^e edits the arguments; Ctrl-C leaves it pending$")
        person.type("yes\r")
        person.shows("I heard: a table for 2 at Ritz")
        person.type("exit\r")
        assert person.end() == 0


def test_ctrl_c_twice_ends_what_does_not_stop(folder: Path) -> None:
    stuck = "import anyio\nfrom agentkit import Agent, tool\n@tool\nasync def get_weather(city: str) -> str:\n    '''Look.'''\n    with anyio.CancelScope(shield=True):\n        await anyio.sleep(1000)\nagent = Agent('m', tools=[get_weather])\n"
    (folder / "stuck.py").write_text(stuck)
    with terminal("chat", "stuck.py") as person:
        person.expect(">")
        person.type("rain?\r")
        person.expect("→ get_weather")
        person.type("\x03")
        person.expect("not stopped yet; Ctrl-C again ends the program at once")
        person.type("\x03")
        person.expect("agentkit: stopped")
        assert person.end() == 130
