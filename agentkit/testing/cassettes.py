"""Cassettes: record a model's replies to a file, and replay them without the model."""

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
"""What to record: nothing, requests that the file does not have, or everything again."""

_MOST_LINES = 100
_WAY_OUT = 'record="new" (in pytest: --agentkit-record=new) records missing requests, "all" records everything again'


class Cassette:
    """A model that records another model's replies to a file, and later replays them.

    A request matches a recording if messages, tools, tool choice, settings and response format are equal. Equal
    requests take their recordings in order, each once. A streamed reply is streamed again, chunk by chunk, and an error
    is raised again. The file has no API key, no headers and no URL query.

    Args:
        model: The model; or its name, or a function that makes it, if it should be made only to record.
        path: The file. Each recording replaces the whole file.
        record: `"none"` never asks the model, `"new"` asks it if the file has no recording, `"all"` asks it always.

    Attributes:
        path: The file.
        missed: The errors of requests without a recording.

    Raises:
        ConfigurationError: If the file is damaged, or does not exist and `record` is `"none"`.
    """

    def __init__(
        self, model: Model | str | Callable[[], Model], path: str | os.PathLike[str], *, record: Record = "none"
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
        for recording in known:
            self._left[key_of(recording.asked)].append(recording)

    @property
    def name(self) -> str:
        """The name of the recorded model."""
        return self._name or self._model().name

    def __repr__(self) -> str:
        return f"Cassette({str(self.path)!r}, record={self._record!r})"

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        """Replay the recording of a request, or record it; see `Model.complete`.

        Raises:
            UnexpectedRequest: If there is no recording and `record` is `"none"`; the text has a diff.
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
            self.missed.append(UnexpectedRequest(self._miss(asked)))
            raise self.missed[-1]
        chunks: list[ChatChunk] = []
        try:
            reply = await self._model().complete(request, None if on_chunk is None else _both(chunks.append, on_chunk))
        except ModelError as error:
            if is_recordable(error):  # the copy has no traceback, which would keep frames
                self._keep(place, Recording(asked, copy(error), tuple(chunks)))
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
        """Replace the file; recordings have the order in which the requests were made."""
        with self._lock:
            self._slots[place] = recording
            self._name = self._name or self._model().name
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.{id(self)}")
            beside.write_text(written(self._name, filter(None, self._slots)), encoding="utf-8", newline="\n")
            beside.replace(self.path)

    def _miss(self, asked: tuple[Line, ...]) -> str:
        """Say what is missing, with a diff to the most similar recording."""
        known = [recording for recording in self._slots if recording is not None]
        if same := [key_of(recording.asked) for recording in known].count(key_of(asked)):
            return f"{self.path} has this request {same} times, and it was made once more; {_WAY_OUT}"
        if not known:
            return f"{self.path} has no recordings; {_WAY_OUT}"
        pretty, others = _pretty(asked), [_pretty(recording.asked) for recording in known]
        nearest = max(others, key=lambda lines: SequenceMatcher(None, lines, pretty).ratio())
        diff = list(unified_diff(nearest, pretty, "the nearest recording", "the request", lineterm=""))
        shown = "\n".join([*diff[:_MOST_LINES], *(["…"] if len(diff) > _MOST_LINES else [])])
        return f"{self.path} has no recording of this request; {_WAY_OUT}\n{shown}"


def _both(first: OnChunk, second: OnChunk) -> OnChunk:
    def on_chunk(chunk: ChatChunk) -> None:
        first(chunk)
        second(chunk)

    return on_chunk


def _replayed(recording: Recording, on_chunk: OnChunk | None) -> ChatResponse:
    if on_chunk is not None:
        for chunk in recording.chunks:
            on_chunk(chunk)
    if isinstance(recording.outcome, ModelError):
        raise copy(recording.outcome)  # each time another one: what raises an error writes to it
    if on_chunk is not None and not recording.chunks:  # it was not streamed when it was recorded
        on_chunk(whole_chunk(recording.outcome))
    return recording.outcome


def _pretty(asked: Iterable[Line]) -> list[str]:
    text = [json.dumps(line, ensure_ascii=False, indent=2, sort_keys=True) for line in asked]
    return "\n".join(text).split("\n")
