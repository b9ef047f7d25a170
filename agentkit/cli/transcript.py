"""A conversation as a story that people read, and as data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.cli.formatting import call_of, safe, usage_of
from agentkit.cli.live_view import STYLES
from agentkit.core.dicts import stored
from agentkit.core.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.core.state import State

_WIDTH = 8
_LONGEST = 600
_LONGEST_URL = 60


@dataclass(frozen=True, slots=True)
class Told:
    """One thing of a story.

    Attributes:
        message: What was said, or `None` if only the note is told.
        usage: What it cost.
        note: What else is to be said of it.
    """

    message: Message | None
    usage: Usage | None = None
    note: str = ""

    def data(self) -> dict[str, object]:
        """Give it as plain data."""
        message = None if self.message is None else stored(self.message)
        return {"message": message, "usage": None if self.usage is None else asdict(self.usage), "note": self.note}


def told_of(messages: Sequence[Message]) -> list[Told]:
    """Tell the messages of a conversation, and what waits at its end."""
    waiting = ", ".join([call_of(call) for call in State.of(tuple(messages)).unanswered])
    return [*map(Told, messages), *([Told(None, note=f"has no answer yet: {waiting}")] if waiting else [])]


def usage_in(story: Iterable[Told]) -> Usage:
    """Give what a story cost, as far as it is known."""
    return sum([each.usage for each in story if each.usage is not None], Usage())


def tell_story(console: Console, story: Iterable[Told], *, whole: bool = False) -> None:
    """Write a story.

    Args:
        console: Where to.
        story: The story.
        whole: Whether long results are told to their end.
    """
    names: dict[str, str] = {}
    number = 0
    for each in story:
        match each.message:
            case AssistantMessage() as said:
                number += 1
                names |= {call.id: call.name for call in said.tool_calls}
                _tell_reply(console, f"{number}.", said, each.usage)
            case ToolMessage() as answer:
                _tell_answer(console, answer, names, whole=whole)
            case SystemMessage(content=text) | DeveloperMessage(content=text):
                _block(console, "system", text if whole else _cut(text), "dim")
            case UserMessage(content=content, note=note):
                _block(console, "note" if note else "you", _text_of(content), "yellow" if note else "bold cyan")
            case _:
                pass
        if each.note:
            _block(console, "", each.note, "yellow")


def _tell_reply(console: Console, label: str, said: AssistantMessage, usage: Usage | None) -> None:
    lines = [(text, "") for text in (said.content, f"declined: {said.refusal}" if said.refusal else None) if text]
    lines += [(f"→ {call_of(call)}", "cyan") for call in said.tool_calls]
    if usage is not None:
        lines.append((usage_of(usage).partition(", ")[2] or "cost unknown", "dim"))
    for text, style in lines or [("(nothing)", "dim")]:
        _block(console, label, text, "bold", style)
        label = ""


def _tell_answer(console: Console, answer: ToolMessage, names: Mapping[str, str], *, whole: bool) -> None:
    text = answer.full or answer.content
    ended = "" if answer.outcome == "ok" else f" {answer.outcome}"
    name = names.get(answer.tool_call_id, answer.tool_call_id)
    _block(console, "", f"← {name}{ended}: {text if whole else _cut(text)}", "", STYLES[answer.outcome])


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _text_of(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        [f"[image {each.url[:_LONGEST_URL]}]" if isinstance(each, ImagePart) else each.text for each in content]
    )


def _block(console: Console, label: str, text: str, label_style: str, style: str = "") -> None:
    """Write a text beside its label; a terminal wraps it, a file has its lines as they are."""
    if console.is_terminal:
        grid = Table.grid()
        grid.add_column(width=_WIDTH, style=label_style)
        grid.add_column(overflow="fold", style=style)
        grid.add_row(label, Text(safe(text)))
        console.print(grid)
        return
    for line in safe(text).splitlines() or [""]:
        console.print(Text(f"{label:<{_WIDTH}}{line}".rstrip()), soft_wrap=True)
        label = ""
