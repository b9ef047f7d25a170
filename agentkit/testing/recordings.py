"""Recordings of requests and their outcomes, as lines of JSON that read well in a diff.

A recording has a line for the request's options, one per tool, message and chunk of a streamed reply,
and one for the reply or the error. So a part of a request that changed is a line that changed.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agentkit.core import codec, errors
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse
from agentkit.core.errors import ConfigurationError, ModelError
from agentkit.core.json import decode, excerpt, object_of

VERSION = 1
_ANEW = "delete it and record again"

Line: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    """A request (see `asked_of`) and its outcome, with the chunks if it was streamed."""

    asked: tuple[Line, ...]
    outcome: ChatResponse | ModelError
    chunks: tuple[ChatChunk, ...] = ()


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
    """Return the text of a cassette; the name of the model is for people to read."""
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
    """Return the name of the model, and the recordings; errors name `where` the text is from."""
    number, head = 1, dict[str, object]()
    recordings: list[Recording] = []
    asked: list[Line] = []
    chunks: list[ChatChunk] = []
    try:
        for number, written_line in enumerate(text.split("\n"), 1):  # noqa: B007 (the error shows it)
            line = object_of(json.loads(written_line or "{}"))
            if not head:
                head = line
                if line.get("cassette") != VERSION:
                    start = json.dumps(line)[:100]
                    raise ConfigurationError(
                        f"{where} is no cassette of version {VERSION}: it begins with {start}; {_ANEW}"
                    )
            elif line and (outcome := _read_line(line, asked, chunks)) is not None:
                recordings.append(Recording(tuple(asked), outcome, tuple(chunks)))
                asked, chunks = [], []
    except ValueError as error:
        raise ConfigurationError(f"{where}, line {number}, is damaged: {error}; {_ANEW}") from error
    if asked:
        raise ConfigurationError(f"{where} ends within a recording; {_ANEW}")
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
