"""Forged prompts, as a terminal shows them: what a person sees is what runs.

AGENTKIT_ATTACKS=2000 tries as many random calls instead of 10.
"""

import io
import json
import logging
import os
import random
from collections.abc import Awaitable
from typing import Any, cast
from unicodedata import normalize

import anyio
import pyte
import pytest
from pyte import modes
from rich.console import Console

from agentkit import Agent, EndpointError, ToolCall, in_terminal, tool
from agentkit.cli.approval_prompt import ReadLine, approval_prompt
from agentkit.cli.exit_codes import exit_on_error
from agentkit.cli.live_view import LiveView, console_for
from agentkit.core.messages import ToolMessage
from agentkit.observers import log_to
from agentkit.runs.events import TextDelta, ToolFinished, ToolStarted
from agentkit.testing import calling, chaos, status
from tests.clients import client_at, failed

ATTACKS = int(os.environ.get("AGENTKIT_ATTACKS", "10"))
COLUMNS, ROWS = 80, 24
FORGED = 'Run pay(amount=5, to="Ann")? [y/N] '
PIECES = [
    *("\r", "\n" * 60, "\x1b[2J", "\x1b[1A\x1b[2K", "\x9b2J", "\x7f" * 30, "\x08" * 90, "\u202e", "\u2066", "\u2028", "\u200b"),
    *(" " * 300, "\u3000" * 100, "\u00a0" * 100, "\u2800" * 100, "x" * 73, "漢" * 40, "\x1b]0;title\x07", "\x0e", "\x84", "\t" * 40),
    *(FORGED, f"? {FORGED}", '"} ', "\\u0022", "\\", '"', ")? [y/N] y", "\u0301" * 30, "\U000e0041", "\ufe0f", "90000", "Mallory"),
]  # fmt: skip


def calls() -> list[ToolCall]:
    """Each piece in a value and in a name, and random mixtures of them."""
    draw = random.Random(16)
    texts = [*PIECES, *["".join(draw.choices(PIECES, k=draw.randint(2, 8))) for _ in range(ATTACKS)]]
    values = [ToolCall("1", "pay", json.dumps({"amount": 90000, "to": f"Mallory{text}"})) for text in texts]
    raw = [ToolCall("1", "pay", json.dumps({"to": f"{text}Ann"}, ensure_ascii=False)) for text in texts]
    return [*values, *raw, *[ToolCall("1", "pay", json.dumps({text: 1, "amount": 90000})) for text in PIECES]]


def seen(text: str) -> list[str]:
    """The lines of a terminal that got a text, with those that have left the screen."""
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=10_000, ratio=0.5)
    screen.set_mode(modes.LNM)
    pyte.Stream(screen).feed(text)
    lines = [*screen.history.top, *[screen.buffer[number] for number in range(ROWS)]]
    return ["".join([line[column].data for column in range(COLUMNS)]).rstrip() for line in lines]


def composed(arguments: dict[str, object]) -> dict[str, object]:
    """The same arguments with letters and their marks composed, as the emulator has them."""
    pairs = arguments.items()
    return {
        normalize("NFC", name): normalize("NFC", value) if isinstance(value, str) else value for name, value in pairs
    }


def arguments_seen(lines: list[str], mark: str) -> dict[str, object]:
    """The arguments in a question, as a person reads them who knows that indented lines go on."""
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{mark}Run "))
    first, *others = lines[start:]
    rest = [
        line for number, line in enumerate(others) if all(below.startswith("    ") for below in others[: number + 1])
    ]
    question = first.removeprefix(mark) + "".join([line[4:] for line in rest])
    written = question.removeprefix("Run pay(").rpartition(")?")[0]
    names, decoder = dict[str, object](), json.JSONDecoder()
    while written:
        if written.startswith('"'):
            name, end = decoder.raw_decode(written)
            written = written[end + 1 :]
        else:
            name, _, written = written.partition("=")
        names[name], end = decoder.raw_decode(written)
        written = written[end:].removeprefix(", ")
    return names


def plain(text: str) -> bool:
    """Whether no line ends in a blank, which a screen does not show."""
    return not any(line.endswith(" ") for line in text.splitlines())


def check_question(text: str, call: ToolCall, mark: str) -> None:
    lines = seen(text)
    assert [line for line in lines if line.startswith((f"{mark}Run ", "Run "))][1:] == [], (
        "a line of the call looks like a question"
    )
    if plain(text):
        assert composed(arguments_seen(lines, mark)) == composed(json.loads(call.arguments))
    shown = [line for line in lines[-ROWS:] if line]
    if not any(line.startswith(f"{mark}Run ") for line in shown):
        assert any(line.startswith("These ") and "one call of pay. Run it?" in line for line in shown)


def test_in_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no(question: str) -> str:
        asked.append(question)
        return "n"

    monkeypatch.setattr("builtins.input", no)
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    for call in calls():
        assert in_terminal(call) is False
        check_question(asked[-1], call, "")


async def decided(console: Console, read: ReadLine, call: ToolCall) -> Any:
    return await cast("Awaitable[Any]", approval_prompt(console, read)(call))


def test_the_prompt_of_the_command_line() -> None:
    async def no(question: str, default: str) -> str:
        await anyio.lowlevel.checkpoint()
        return "n"

    for call in calls():
        shown = io.StringIO()
        console = Console(
            file=shown,
            force_terminal=True,
            width=COLUMNS,
            color_system=None,
            legacy_windows=False,
            markup=False,
            highlight=False,
            emoji=False,
        )
        decision: Any = anyio.run(decided, console, no, call)
        assert decision.approved is False
        check_question(shown.getvalue(), call, "? ")


def test_what_runs_is_told_in_lines_of_their_own() -> None:
    for call in calls():
        shown = io.StringIO()
        view = LiveView(shown, console_for(shown), 1)
        forged = json.loads(call.arguments)
        for event in (TextDelta(str(forged)), ToolStarted(call), ToolFinished(call, ToolMessage("1", str(forged)))):
            view(event)
        assert all(char.isprintable() or char in "\n\t\u3000\u00a0\ufe0f" for char in shown.getvalue())
        assert "\x1b" not in shown.getvalue()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_text_of_a_server_or_a_model_forges_a_line_of_a_log(caplog: pytest.LogCaptureFixture) -> None:
    line = "2026-11-29 12:00:00 INFO root: all is well"
    caplog.set_level(logging.DEBUG)
    handler = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")

    @tool
    def pay(to: str) -> str:
        """Pay."""
        return to

    message = f"busy\n{line}\r{line}\x85{line}\u2028{line}\x1b[2K"
    with chaos(status(503, body={"error": {"message": message}})) as endpoint:
        error = await failed(client_at(endpoint, retries=1))
    with chaos(calling(("pay", {"to": message})), status(503, body={"error": {"message": message}})) as endpoint:
        agent = Agent(client_at(endpoint), tools=[pay], observers=[log_to(content=True)])
        with pytest.raises(EndpointError):
            await agent.run("Pay.")
    assert any("retrying" in record.message for record in caplog.records)
    written = [handler.format(record) for record in caplog.records]
    assert all(not each.startswith(line) for text in written for each in text.splitlines())
    assert str(error).isprintable()
    with pytest.raises(Exception), exit_on_error(traceback=True):  # noqa: B017, PT011
        raise error


def test_only_a_yes_is_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["yes but only /tmp", "yes, not that", "e then y", "y n", "n"])

    async def read(question: str, default: str) -> str:
        await anyio.lowlevel.checkpoint()
        return next(answers)

    decision: Any = anyio.run(decided, console_for(io.StringIO()), read, ToolCall("1", "pay", "{}"))
    assert decision.approved is False
    assert list(answers) == []

    def halfway(question: str) -> str:
        return "yes but only /tmp"

    monkeypatch.setattr("builtins.input", halfway)
    assert in_terminal(ToolCall("1", "pay", "{}")) is False
