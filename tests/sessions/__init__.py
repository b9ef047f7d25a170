"""What the tests of the stores share: a conversation, makers of sessions, and programs that write at once."""

import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import pytest

from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.parts import ImagePart
from agentkit.core.session_lines import line_of
from agentkit.sessions import Ended, Entry, JsonLines, Memory, Session, Sqlite, Started, StoredConversation
from tests.programs import started

CALL = ToolCall("a", "pay", '{"sum": 5}', {"signature": "x"})
STARTED = Started("a", "pay", '{"sum": 5}', "pay:5")
RESULT = ToolMessage("a", "paid…", full="paid 5", images=(ImagePart("data:,1"),))
ENTRIES: tuple[Entry, ...] = (
    UserMessage("Pay\nthis. \u2028\x00\ud800"),
    AssistantMessage(tool_calls=(CALL,), extra={"reasoning": "hm"}, origin="https://a.example/v1"),
    STARTED,
    RESULT,
    UserMessage("Go on.", note=True),
)
MESSAGES = tuple([entry for entry in ENTRIES if not isinstance(entry, Started | Ended)])
KEPT = StoredConversation(MESSAGES, (), ((STARTED, RESULT),), len(ENTRIES))

Make: TypeAlias = Callable[[Path], Session]


def memory(_: Path) -> Session:
    return Memory()


def lines(path: Path) -> Session:
    return JsonLines(path / "chat.jsonl", sync=False)


def table(path: Path) -> Session:
    return Sqlite(path / "chats.db", sync=False).conversation("ann")


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


class Slow:
    """Holds what writes to the disk until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

        def slow(entry: Entry) -> str:
            self.begun.set()
            assert self.go.wait(60)
            return line_of(entry)

        for store in ("jsonl", "sqlite"):
            monkeypatch.setattr(f"agentkit.sessions.{store}.line_of", slow)


def program(code: str, *arguments: object) -> "AbstractContextManager[subprocess.Popen[str]]":
    command = [sys.executable, "-c", code, *map(str, arguments)]
    root = Path(__file__).parents[2]
    return started(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
