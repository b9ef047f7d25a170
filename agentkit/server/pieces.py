"""What a choice of a reply comes in, streamed or not, and the channel from the runs to whoever writes it."""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from anyio import Event, move_on_after

from agentkit.messages import ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the text, or of a refusal."""

    index: int
    text: str
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened on the server."""

    index: int
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Called:
    """Calls that the client is to run."""

    index: int
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a choice."""

    index: int
    finish_reason: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a choice that is none.

    Attributes:
        index: Which.
        error: Why.
        acted: Whether tools had run.
    """

    index: int
    error: BaseException
    acted: bool


Piece: TypeAlias = Text | Told | Called | Ended | Failed


class Channel:
    """From the runs to the reply. What a run says never waits; it is no more than its history, which it keeps too."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._wake = Event()

    def put(self, piece: Piece) -> None:
        """Say something."""
        self._pieces.append(piece)
        self._wake.set()

    async def get(self, seconds: float) -> Piece | None:
        """Give the next piece; `None` if nothing was said for so long."""
        if not self._pieces:
            self._wake = Event()
            with move_on_after(seconds):
                await self._wake.wait()
        return self._pieces.popleft() if self._pieces else None
