"""Recordings of requests and what came of them, as lines of JSON that read well in a diff.

A recording takes a line for what is asked for, one for each tool, each message and each chunk of a streamed reply, and
one for the reply or the error. So what changed in a request is a line that changed.
"""

import json
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeAlias, cast

from agentkit.core import errors
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice
from agentkit.core.dicts import message_of, stored
from agentkit.core.errors import ConfigurationError, ModelError
from agentkit.core.json import decode, list_of, object_of
from agentkit.core.lossless import exact, value_of
from agentkit.core.messages import AssistantMessage, ToolCall, Usage

VERSION = 1
_KEPT_ELSEWHERE = ("partial", "sent", "calls", "__notes__")

Line: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Recording:
    """A request and what came of it.

    Attributes:
        asked: What the request means, line by line: what is asked for, the tools, and the messages.
        outcome: The reply or the error.
        chunks: The chunks, if the reply was streamed.
    """

    asked: tuple[Line, ...]
    outcome: ChatResponse | ModelError
    chunks: tuple[ChatChunk, ...] = ()

    @cached_property
    def key(self) -> str:
        """A text that is the same for requests that mean the same."""
        return key_of(self.asked)

    def replayed(self) -> ChatResponse:
        """Give the reply.

        Raises:
            ModelError: If it was recorded instead.
        """
        if isinstance(self.outcome, ModelError):
            raise copy(self.outcome)  # each time another one: what raises an error writes to it
        return self.outcome


def asked_of(request: ChatRequest) -> tuple[Line, ...]:
    """Give what a request means, line by line. The model's name and whether it is streamed are no part of it."""
    head: dict[str, object] = {}
    if request.tools:
        head["tool_choice"] = request.tool_choice.to_wire()
    if request.settings.encoded:
        head["settings"] = decode(b"{" + request.settings.encoded + b"}")
    if request.response_format is not None:
        head["response_format"] = request.response_format
    tools = [{"tool": object_of(decode(each.encoded))["function"]} for each in request.tools]
    messages = [{"message": decode(each.encoded)} for each in request.messages]
    return ({"request": head}, *tools, *messages)


def key_of(asked: Iterable[Line]) -> str:
    """Give a text that is the same for requests that mean the same, whatever the order of keys."""
    return json.dumps(list(asked), sort_keys=True)


def is_recordable(error: ModelError) -> bool:
    """Tell whether an error can be read again as it is: one of agentkit's own that holds plain data."""
    try:
        _error(error)
    except ValueError:
        return False
    return getattr(errors, type(error).__name__, None) is type(error)


def written(model: str, recordings: Iterable[Recording]) -> str:
    """Write recordings.

    Args:
        model: The name of the model, for people to read.
        recordings: The recordings, in order.
    """
    lines: list[Line] = [{"cassette": VERSION, "model": model}]
    for each in recordings:
        lines += each.asked
        lines += [{"chunk": exact(chunk.data)} for chunk in each.chunks]
        lines.append(_outcome(each.outcome))
    return "".join([json.dumps(each, ensure_ascii=False) + "\n" for each in lines])


def read(text: str, where: str) -> tuple[str, list[Recording]]:
    """Read what was written.

    Args:
        text: The text.
        where: Where it is from, for errors.

    Returns:
        The name of the model, and the recordings.

    Raises:
        ConfigurationError: If it is not what was written, or of another version.
    """
    number, head = 1, dict[str, object]()
    recordings: list[Recording] = []
    asked: list[Line] = []
    chunks: list[ChatChunk] = []
    try:
        for number, written_line in enumerate(text.split("\n"), 1):  # noqa: B007 (the error tells it)
            line = object_of(json.loads(written_line or "{}"))
            if not head:
                head = _checked_head(line, where)
            elif line and (outcome := _took(line, asked, chunks)) is not None:
                recordings.append(Recording(tuple(asked), outcome, tuple(chunks)))
                asked, chunks = [], []
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{where}, line {number}, is damaged: {error}. Mend it, or take it away and record anew"
        ) from error
    if asked:
        raise ConfigurationError(f"{where} ends within a recording. Take it away, and record anew")
    return str(head.get("model", "")), recordings


def _took(line: Line, asked: list[Line], chunks: list[ChatChunk]) -> ChatResponse | ModelError | None:
    """Take a line of a recording; the last one of it gives its outcome."""
    ((kind, value),) = line.items()
    if (kind == "request") == bool(asked):
        raise ValueError(f"a line {kind!r} does not belong here")
    if kind in ("request", "tool", "message"):
        asked.append(line)
    elif kind == "chunk":
        chunks.append(ChatChunk(object_of(value_of(value))))
    else:
        return _made(kind, object_of(value))
    return None


def _checked_head(line: dict[str, object], where: str) -> dict[str, object]:
    if line.get("cassette") != VERSION:
        raise ConfigurationError(
            f"{where} is no cassette of version {VERSION}, but begins with {json.dumps(line)[:100]}. Take it away, and "
            "record anew"
        )
    return line


def _outcome(outcome: ChatResponse | ModelError) -> Line:
    if isinstance(outcome, ModelError):
        return {"error": _error(outcome)}
    reply: dict[str, object] = {"choices": [_choice(each) for each in outcome.choices]}
    if outcome.usage is not None:
        reply["usage"] = {name: value for name, value in asdict(outcome.usage).items() if value is not None}
    more = {"id": outcome.id, "model": outcome.model, "extra": exact(outcome.extra) if outcome.extra else None}
    return {"reply": reply | {name: value for name, value in more.items() if value is not None}}


def _choice(choice: Choice) -> Line:
    more = {"extra": exact(choice.extra)} if choice.extra else {}
    return {"message": stored(choice.message), "finish_reason": choice.finish_reason, **more}


def _error(error: ModelError) -> Line:
    fields = {name: exact(value) for name, value in vars(error).items() if name not in _KEPT_ELSEWHERE}
    calls = [exact(asdict(each)) for each in error.calls]
    return {"type": type(error).__name__, "message": str(error), **fields, **({"calls": calls} if calls else {})}


def _made(kind: str, data: Mapping[str, Any]) -> ChatResponse | ModelError:
    if kind == "error":
        return _made_error(data)
    if kind != "reply":
        raise ValueError(f"there is no line {kind!r}")
    usage = data.get("usage")
    choices = [
        Choice(_message(each["message"]), each["finish_reason"], object_of(value_of(each.get("extra", {}))))
        for each in cast("list[dict[str, Any]]", data["choices"])
    ]
    if not choices:
        raise ValueError("a reply has at least one choice")
    extra = object_of(value_of(data.get("extra", {})))
    return ChatResponse(
        tuple(choices), None if usage is None else Usage(**usage), data.get("id"), data.get("model"), extra
    )


def _message(data: object) -> AssistantMessage:
    message = message_of(data, "the message")
    if not isinstance(message, AssistantMessage):
        raise ValueError("a reply is a message of the assistant")  # noqa: TRY004 (of the file, not of the program)
    return message


def _made_error(data: Mapping[str, Any]) -> ModelError:
    fields = {name: value_of(value) for name, value in data.items()}
    kind: Any = getattr(errors, str(fields.pop("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, ModelError)):
        raise ValueError(f"there is no error {data['type']!r}")  # noqa: TRY004 (as above)
    said = fields.pop("message")
    calls = tuple([ToolCall(**cast("dict[str, Any]", each)) for each in list_of(fields.pop("calls", []))])
    error = kind.__new__(kind, said)
    vars(error).update(fields | ({"calls": calls} if calls else {}))
    return error
