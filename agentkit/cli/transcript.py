"""Transcripts: stored conversations, printed for people or given as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.cli.formatting import format_usage
from agentkit.cli.live_view import STYLES
from agentkit.core.dicts import stored
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.parts import AudioPart, Content, ImagePart, Media, TextPart
from agentkit.core.printable import PROSE, format_call, printable
from agentkit.core.state import State

_LABEL_WIDTH = 8
_MAX_LENGTH = 600
_MAX_URL_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a transcript: a message, perhaps with the usage of its step, a note, or both."""

    message: Message | None
    usage: Usage | None = None
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        message = None if self.message is None else stored(self.message)
        return {"message": message, "usage": None if self.usage is None else asdict(self.usage), "note": self.note}


def transcript_of(messages: Sequence[Message]) -> list[Entry]:
    """Return an entry per message, and a note of the calls without a result at the end."""
    pending = ", ".join([format_call(call) for call in State.of(tuple(messages)).unanswered])
    return [*map(Entry, messages), *([Entry(None, note=f"no result yet: {pending}")] if pending else [])]


def total_usage(entries: Iterable[Entry]) -> Usage:
    return sum([entry.usage for entry in entries if entry.usage is not None], Usage())


def print_transcript(console: Console, entries: Iterable[Entry], *, whole: bool = False) -> None:
    """Print a transcript; long system prompts and tool results are cut, unless `whole`."""
    names: dict[str, str] = {}
    number = 0
    for entry in entries:
        match entry.message:
            case AssistantMessage() as message:
                number += 1
                names |= {call.id: call.name for call in message.tool_calls}
                _print_reply(console, f"{number}.", message, entry.usage)
            case ToolMessage() as message:
                _print_result(console, message, names, whole=whole)
            case SystemMessage(content=text) | DeveloperMessage(content=text):
                _print_block(console, "system", text if whole else _cut(text), "dim")
            case UserMessage(content=content, note=note):
                _print_block(console, "note" if note else "you", _text_of(content), "yellow" if note else "bold cyan")
            case _:
                pass
        if entry.note:
            _print_block(console, "", entry.note, "yellow")


def _print_reply(console: Console, label: str, message: AssistantMessage, usage: Usage | None) -> None:
    refusal = f"refused: {message.refusal}" if message.refusal else None
    lines = [(text, "") for text in (message.content, refusal) if text]
    lines += [(f"→ {format_call(call)}", "cyan") for call in message.tool_calls]
    if usage is not None:
        lines.append((format_usage(usage).partition(", ")[2] or "usage unknown", "dim"))
    for text, style in lines or [("(empty)", "dim")]:
        _print_block(console, label, text, "bold", style)
        label = ""


def _print_result(console: Console, message: ToolMessage, names: Mapping[str, str], *, whole: bool) -> None:
    text = message.full or message.content
    outcome = "" if message.outcome == "ok" else f" {message.outcome}"
    name = names.get(message.tool_call_id, message.tool_call_id)
    text = f"← {name}{outcome}: {text if whole else _cut(text)}"
    _print_block(console, "", text, "", STYLES[message.outcome])


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}… ({len(text):,} characters)"


def _text_of(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join([part.text if isinstance(part, TextPart) else _named(part) for part in content])


def _named(part: Media) -> str:
    match part:
        case ImagePart():
            return f"[image {part.url[:_MAX_URL_LENGTH]}]"
        case AudioPart():
            return f"[recording, {part.format}]"
        case _:
            return f"[file {part.filename or part.file_id or ''}]".replace(" ]", "]")


def _print_block(console: Console, label: str, text: str, label_style: str, style: str = "") -> None:
    """Print a text beside its label. A terminal wraps the text; a file gets its lines as they are."""
    if console.is_terminal:
        grid = Table.grid()
        grid.add_column(width=_LABEL_WIDTH, style=label_style)
        grid.add_column(overflow="fold", style=style)
        grid.add_row(label, Text(printable(text, PROSE)))
        console.print(grid)
        return
    for line in printable(text, PROSE).split("\n") or [""]:
        console.print(Text(f"{label:<{_LABEL_WIDTH}}{line}".rstrip()), soft_wrap=True)
        label = ""
