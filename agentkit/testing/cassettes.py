"""Cassettes: what a model replied is kept in a file, and played again without it."""

import json
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from copy import copy
from difflib import SequenceMatcher, unified_diff
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeAlias, cast, get_args

from agentkit.agent.builder import model_of
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.checks import check_one_of
from agentkit.core.errors import ConfigurationError, ModelError
from agentkit.core.model import Model, OnChunk
from agentkit.testing.models import UnexpectedRequest, whole_chunk
from agentkit.testing.recordings import Line, Recording, asked_of, is_recordable, key_of, read, written

Record: TypeAlias = Literal["none", "new", "all"]
"""What is recorded: nothing; what the file does not have; or everything anew."""

MakesModel: TypeAlias = Callable[[], Model]

_MOST_LINES = 100
_WAY_OUT = 'record="new" (in pytest: --agentkit-record=new) records what is missing, "all" records everything anew'


class Cassette:
    """A model that holds a model and keeps what it replies in a file; later the file replies in its place.

    A request is known again by what it means: messages, tools, tool choice, settings, and response format. Equal
    requests take their recordings in order, each once. A reply that was streamed is streamed again, chunk by chunk, and
    an error is raised again. The file has what a model is handed and what it gives: no key, no header, and no query.

    Args:
        model: The model; or a model's name, or a function that makes it, for one that is made only to record.
        path: The file. It is replaced as a whole with each recording.
        record: What is recorded: `"none"` asks the model nothing, `"new"` asks it what the file does not have, and
            `"all"` asks it everything anew.

    Attributes:
        path: The file.
        missed: The requests that there was no recording of, as the errors that were raised.

    Raises:
        ConfigurationError: If the file is not there, although nothing is to be recorded, or is damaged.
    """

    def __init__(
        self, model: Model | str | MakesModel, path: str | os.PathLike[str], *, record: Record = "none"
    ) -> None:
        check_one_of("record", record, get_args(Record))
        self.path = Path(path)
        self.missed: list[UnexpectedRequest] = []
        self._record = record
        self._given = model
        self._made: Model | None = None
        self._lock = Lock()
        self._name, known = ("", list[Recording]()) if record == "all" else self._read()
        self._slots: list[Recording | None] = [*known]
        self._left: defaultdict[str, deque[Recording]] = defaultdict(deque)
        for each in known:
            self._left[each.key].append(each)

    @property
    def name(self) -> str:
        """The name of the model that was recorded, or of the one to be."""
        return self._name or self._model().name

    def __repr__(self) -> str:
        return f"Cassette({str(self.path)!r}, record={self._record!r})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Play the recording of a request, or make one; see `Model.complete`.

        Raises:
            UnexpectedRequest: If there is no recording, and none is to be made; it shows the difference to the nearest.
        """
        asked = asked_of(request)
        with self._lock:
            left = self._left[key_of(asked)]
            known = left.popleft() if left else None
            place = len(self._slots)
            if known is None and self._record != "none":
                self._slots.append(None)
        if known is not None:
            return _replayed(known, on_chunk)
        if self._record == "none":
            missed = UnexpectedRequest(self._miss(asked))
            self.missed.append(missed)
            raise missed
        return await self._recorded(asked, request, on_chunk, place)

    async def _recorded(
        self, asked: tuple[Line, ...], request: ChatRequest, on_chunk: OnChunk | None, place: int
    ) -> ChatResponse:
        chunks: list[ChatChunk] = []
        try:
            reply = await self._model().complete(request, None if on_chunk is None else _both(chunks.append, on_chunk))
        except ModelError as error:
            if is_recordable(error):
                self._keep(place, Recording(asked, copy(error), tuple(chunks)))  # without what leads to its frames
            raise
        self._keep(place, Recording(asked, reply, tuple(chunks)))
        return reply

    def _model(self) -> Model:
        if self._made is None:
            given: Any = model_of(self._given, "error") if isinstance(self._given, str) else self._given
            is_model = hasattr(given, "complete") and not isinstance(given, type)
            self._made = cast("Model", given if is_model else given())
        return self._made

    def _read(self) -> tuple[str, list[Recording]]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            if self._record == "none":
                raise ConfigurationError(f"there is no cassette {self.path}; {_WAY_OUT}") from None
            return "", []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error}") from error
        return read(text, str(self.path))

    def _keep(self, place: int, recording: Recording) -> None:
        """Write the file anew; recordings stand in the order in which the requests were made."""
        with self._lock:
            self._slots[place] = recording
            self._name = self._name or self._model().name
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.{id(self)}")
            beside.write_text(written(self._name, filter(None, self._slots)), encoding="utf-8", newline="\n")
            beside.replace(self.path)

    def _miss(self, asked: tuple[Line, ...]) -> str:
        """Say what is missing, beside the nearest that there is."""
        known = [each for each in self._slots if each is not None]
        key = key_of(asked)
        same = sum(each.key == key for each in known)
        if same:
            times = f"{same} time{'' if same == 1 else 's'}"
            return f"{self.path} has this request {times}, and it was made once more; {_WAY_OUT}"
        pretty = _pretty(asked)
        others = [_pretty(each.asked) for each in known]
        nearest = max(others, key=lambda each: SequenceMatcher(None, each, pretty).ratio(), default=None)
        if nearest is None:
            return f"{self.path} has no recordings; {_WAY_OUT}"
        diff = list(unified_diff(nearest, pretty, "the nearest recording", "the request", lineterm=""))
        shown = "\n".join([*diff[:_MOST_LINES], *(["…"] if len(diff) > _MOST_LINES else [])])
        return f"{self.path} has no recording of this request; {_WAY_OUT}\n{shown}"


def _both(keep: OnChunk, tell: OnChunk) -> OnChunk:
    def hear(chunk: ChatChunk) -> None:
        keep(chunk)
        tell(chunk)

    return hear


def _replayed(recording: Recording, on_chunk: OnChunk | None) -> ChatResponse:
    if on_chunk is not None:
        for each in recording.chunks:
            on_chunk(each)
    reply = recording.replayed()
    if on_chunk is not None and not recording.chunks:  # it was not streamed when it was recorded
        on_chunk(whole_chunk(reply))
    return reply


def _pretty(asked: Iterable[Line]) -> list[str]:
    text = [json.dumps(each, ensure_ascii=False, indent=2, sort_keys=True) for each in asked]
    return "\n".join(text).split("\n")
