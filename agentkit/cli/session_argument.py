"""The argument of `--session`: `FILE` or `FILE:NAME`."""

import re
from dataclasses import dataclass
from pathlib import Path

from agentkit.core.errors import ConfigurationError
from agentkit.core.session import Session
from agentkit.sessions import JsonLines, Memory, Sqlite

_NAMED = re.compile(r"(?P<file>..+):(?P<name>[^/\\:]+)")  # one letter before the colon is a drive of Windows
_DEFAULT_NAME = "main"


@dataclass(frozen=True, slots=True)
class SessionArgument:
    """Where a conversation is stored: in memory, in a file, or under a name in an SQLite file."""

    session: Session
    file: Path | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.name}" if self.name else str(self.file or "nowhere")

    async def clear(self) -> "SessionArgument":
        """Delete the conversation, and return where the next one is stored."""
        if self.file is None:
            return SessionArgument(Memory())
        if self.name:
            await Sqlite(self.file).delete(self.name)
        else:
            self.file.unlink(missing_ok=True)
        return self


def split_session_argument(text: str) -> tuple[Path, str]:
    """Split `FILE:NAME`; the name is empty if there is none."""
    if (match := _NAMED.fullmatch(text)) and not Path(text).exists():
        return Path(match["file"]), match["name"]
    return Path(text), ""


def parse_session_argument(text: str | None) -> SessionArgument:
    """Read `FILE[:NAME]`: JSON lines if the file ends in `.jsonl`, else SQLite, where the default name is `main`."""
    if text is None:
        return SessionArgument(Memory())
    file, name = split_session_argument(text)
    if not file.parent.is_dir():
        raise ConfigurationError(f"the folder of the session does not exist: mkdir -p {str(file.parent)!r}")
    if file.suffix != ".jsonl":
        name = name or _DEFAULT_NAME
        return SessionArgument(Sqlite(file).conversation(name), file, name)
    if name:
        raise ConfigurationError(f"a .jsonl file holds one conversation, without a name: --session {file}")
    return SessionArgument(JsonLines(file), file)
