"""Stored runs and conversations, told apart by their contents: what `replay` prints and `view` shows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from agentkit.cli.session_argument import split_session_argument
from agentkit.core.dicts import loads
from agentkit.core.errors import ConfigurationError
from agentkit.core.json import object_of
from agentkit.core.messages import Message
from agentkit.core.session import StoredConversation
from agentkit.sessions import JsonLines, Sqlite
from agentkit.testing.recordings import Recording, read

_SQLITE = b"SQLite format 3\x00"
KINDS = (
    "a session (SQLite or .jsonl), output of `agentkit run --json`, a cassette, the journal of a batch, or a JSON "
    "array of messages"
)


class Messages(NamedTuple):
    """A JSON array of messages."""

    messages: tuple[Message, ...]


class SavedResult(NamedTuple):
    """The output of `agentkit run --json`."""

    data: dict[str, object]
    path: Path


class SavedCassette(NamedTuple):
    """Recordings of requests."""

    model: str
    recordings: Sequence[Recording]


class SavedBatch(NamedTuple):
    """The lines of a batch's journal."""

    lines: Sequence[dict[str, object]]
    path: Path


Stored: TypeAlias = Messages | SavedResult | SavedCassette | SavedBatch | StoredConversation


async def read_stored(text: str, command: str = "replay") -> tuple[str, Stored]:
    """Read what is in a file, or in an SQLite file under a name (`FILE:NAME`), and return it with the name.

    Args:
        text: The file, and the name.
        command: The command that reads it, for errors.
    """
    path, name = split_session_argument(text)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(_SQLITE):
        return await _read_sqlite(path, name, command)
    if name:
        raise ConfigurationError(f"{path} holds one conversation, without a name: agentkit {command} {path}")
    return "", await _read_json(path, data, command)


async def _read_sqlite(path: Path, name: str, command: str) -> tuple[str, Stored]:
    file = Sqlite(path)
    names = await file.conversations()
    if not name and len(names) == 1:
        (name,) = names
    if name not in names:
        choices = ", ".join(names) or "none"
        raise ConfigurationError(f"the conversations in {path} are {choices}; name one: agentkit {command} {path}:NAME")
    return name, await file.conversation(name).load()


async def _read_json(path: Path, data: bytes, command: str) -> Stored:
    """Read a file that is JSON, or lines of JSON."""
    first_line = data.lstrip().partition(b"\n")[0]
    try:
        first: object = json.loads(first_line)
    except ValueError:
        first = None
    if "cassette" in object_of(first):
        return SavedCassette(*read(data.decode(errors="replace"), str(path)))
    if object_of(first).get("agentkit") == "batch" or "batch" in object_of(first):
        return SavedBatch(_lines_of(data), path)
    try:
        whole: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        if first is None:
            raise ConfigurationError(f"{path} cannot be {command}ed; give {KINDS}") from error
        whole = None
    if isinstance(whole, list):
        return Messages(loads(data))
    if "messages" in object_of(whole):
        return SavedResult(object_of(whole), path)
    return await JsonLines(path).load()


def _lines_of(data: bytes) -> list[dict[str, object]]:
    """Return the lines of a journal; a batch may be writing the last one."""
    lines: list[dict[str, object]] = []
    for line in data.split(b"\n")[:-1]:
        try:
            lines.append(object_of(json.loads(line)))
        except (ValueError, RecursionError):
            lines.append({"key": "?", "error": {"kind": "Damaged", "text": "the line cannot be read"}})
    return lines
