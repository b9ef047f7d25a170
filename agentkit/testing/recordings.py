"""Recordings of requests and their outcomes, as lines of JSON that read well in a diff.

A recording has a line for the request's options, one for each tool, each message and each chunk of a streamed reply,
and one for the reply or the error. So a part of a request that changed is a line that changed.
"""

import json
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from agentkit.core import codec, errors
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.errors import ConfigurationError, ModelError
from agentkit.core.json import decode, excerpt, object_of

VERSION = 1

Line: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Recording:
    """A request and its outcome.

    Attributes:
        asked: The meaning of the request, line by line: its options, the tools, and the messages.
        outcome: The reply or the error.
        chunks: The chunks, if the reply was streamed.
    """

    asked: tuple[Line, ...]
    outcome: ChatResponse | ModelError
    chunks: tuple[ChatChunk, ...] = ()

    @cached_property
    def key(self) -> str:
        """The same string for requests that mean the same."""
        return key_of(self.asked)

    def replayed(self) -> ChatResponse:
        """Return the reply.

        Raises:
            ModelError: If it was recorded instead.
        """
        if isinstance(self.outcome, ModelError):
            raise copy(self.outcome)  # each time another one: what raises an error writes to it
        return self.outcome


def asked_of(request: ChatRequest) -> tuple[Line, ...]:
    """Return the meaning of a request, line by line; without the model's name, and whether it is streamed."""
    head: dict[str, object] = {}
    if request.tools:
        head["tool_choice"] = request.tool_choice.to_wire()
    if request.settings.encoded:
        head["settings"] = decode(b"{" + request.settings.encoded + b"}")
    if request.response_format is not None:
        head["response_format"] = request.response_format
    tools = [{"tool": object_of(decode(tool.encoded))["function"]} for tool in request.tools]
    messages = [{"message": decode(message.encoded)} for message in request.messages]
    return ({"request": head}, *tools, *messages)


def key_of(asked: Iterable[Line]) -> str:
    """Return the same string for requests that mean the same, whatever the order of keys."""
    return json.dumps(list(asked), sort_keys=True)


def is_recordable(error: ModelError) -> bool:
    """Whether an error can be read again: it is one of agentkit's own."""
    return getattr(errors, type(error).__name__, None) is type(error)


def written(model: str, recordings: Iterable[Recording]) -> str:
    """Write recordings.

    Args:
        model: The name of the model, for people to read.
        recordings: The recordings, in order.
    """
    lines: list[Line] = [{"cassette": VERSION, "model": model}]
    for recording in recordings:
        outcome = recording.outcome
        lines += recording.asked
        lines += [{"chunk": codec.write(chunk.data)} for chunk in recording.chunks]
        if isinstance(outcome, ModelError):
            lines.append({"error": codec.write_error(outcome)})
        else:
            lines.append({"reply": codec.write(outcome)})
    return "".join([json.dumps(line, ensure_ascii=False) + "\n" for line in lines])


def read(text: str, where: str) -> tuple[str, list[Recording]]:
    """Read what `written` returned.

    Args:
        text: The text.
        where: The file it is from, for errors.

    Returns:
        The name of the model, and the recordings.

    Raises:
        ConfigurationError: If it is damaged, or of another version.
    """
    number, head = 1, dict[str, object]()
    recordings: list[Recording] = []
    asked: list[Line] = []
    chunks: list[ChatChunk] = []
    try:
        for number, written_line in enumerate(text.split("\n"), 1):  # noqa: B007 (the error tells it)
            line = object_of(json.loads(written_line or "{}"))
            if not head:
                head = _check_head(line, where)
            elif line and (outcome := _read_line(line, asked, chunks)) is not None:
                recordings.append(Recording(tuple(asked), outcome, tuple(chunks)))
                asked, chunks = [], []
    except ValueError as error:
        raise ConfigurationError(
            f"{where}, line {number}, is damaged: {error}. Mend it, or take it away and record anew"
        ) from error
    if asked:
        raise ConfigurationError(f"{where} ends within a recording. Take it away, and record anew")
    return str(head.get("model", "")), recordings


def _read_line(line: Line, asked: list[Line], chunks: list[ChatChunk]) -> ChatResponse | ModelError | None:
    """Read a line into `asked` or `chunks`; the last line of a recording is its outcome, which is returned."""
    ((kind, value),) = line.items()
    if (kind == "request") == bool(asked):
        raise ValueError(f"a line {kind!r} does not belong here")
    match kind:
        case "request" | "tool" | "message":
            asked.append(line)
        case "chunk":
            chunks.append(codec.read(ChatChunk, {"data": value}, where=kind))
        case "error" if isinstance(error := codec.read_error(value), ModelError):
            return error
        case "reply" if (reply := codec.read(ChatResponse, value, where=kind)).choices:
            return reply
        case _:
            raise ValueError(f"there is no {kind} like {excerpt(value)}")
    return None


def _check_head(line: dict[str, object], where: str) -> dict[str, object]:
    if line.get("cassette") != VERSION:
        raise ConfigurationError(
            f"{where} is no cassette of version {VERSION}, but begins with {json.dumps(line)[:100]}. Take it away, and "
            "record anew"
        )
    return line
