"""Where a conversation is kept: `FILE` or `FILE:NAME`."""

import re
from dataclasses import dataclass
from pathlib import Path

from agentkit.core.errors import ConfigurationError
from agentkit.core.session import Session
from agentkit.sessions import JsonLines, Memory, Sqlite

_NAMED = re.compile(r"(?P<file>..+):(?P<name>[^/\\:]+)")  # a single letter before the colon is a drive
_FIRST = "main"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation is kept.

    Attributes:
        session: The conversation.
        file: The file, or `None` if it lasts as long as the command.
        name: Its name in an SQLite file.
    """

    session: Session
    file: Path | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.name}" if self.name else str(self.file or "nowhere")

    async def forgotten(self) -> "Place":
        """Forget the conversation, and give a place for the next."""
        if self.file is None:
            return Place(Memory())
        if self.name:
            await Sqlite(self.file).delete(self.name)
        else:
            self.file.unlink(missing_ok=True)
        return self


def split(text: str) -> tuple[Path, str]:
    """Part `FILE:NAME`; the name is empty if there is none."""
    if (named := _NAMED.fullmatch(text)) and not Path(text).exists():
        return Path(named["file"]), named["name"]
    return Path(text), ""


def place_of(text: str | None) -> Place:
    """Read `FILE[:NAME]`: a file of lines if it ends in `.jsonl`, else an SQLite file, whose first name is `main`.

    Raises:
        ConfigurationError: If it cannot be one.
    """
    if text is None:
        return Place(Memory())
    file, name = split(text)
    if not file.parent.is_dir():
        raise ConfigurationError(f"there is no folder {str(file.parent)!r} for the session; make it first")
    if file.suffix != ".jsonl":
        return Place(Sqlite(file).conversation(name or _FIRST), file, name or _FIRST)
    if name:
        raise ConfigurationError(f"{file} keeps one conversation, which has no name: --session {file}")
    return Place(JsonLines(file), file)
