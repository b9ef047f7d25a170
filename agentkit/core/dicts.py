"""Histories from elsewhere: plain dicts, as the wire has them, into messages."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from agentkit.core.errors import InvalidRequest
from agentkit.core.json import decode, encode, list_of, object_of
from agentkit.core.lossless import REST, rest_of, whole_message
from agentkit.core.messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    ImagePart,
    Message,
    Part,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)

Prompt: TypeAlias = str | Message | Sequence[Message | Mapping[str, object]]
"""What a run begins with: a text, a message, or a history of messages and plain dicts."""

_SHOWN = 200
_CALL = frozenset({"id", "type", "function", "index"})
_ASSISTANT = frozenset({"role", "content", "tool_calls", "refusal", "name", REST})


def messages_of(prompt: Prompt) -> tuple[Message, ...]:
    """Read a prompt.

    Args:
        prompt: A text, a message, or a history.

    Raises:
        InvalidRequest: If something in it is not a message; the text says where and why.
    """
    if isinstance(prompt, str):
        return (UserMessage(prompt),)
    if isinstance(prompt, Message):
        return (prompt,)
    if not isinstance(cast("object", prompt), Sequence):
        raise InvalidRequest(f"the prompt must be a text, a message or a list of messages, not {_shown(prompt)}")
    return tuple(
        [each if isinstance(each, Message) else message_of(each, f"messages[{at}]") for at, each in enumerate(prompt)]
    )


def message_of(data: object, where: str) -> Message:
    """Read a message as the wire has it, or as `stored` wrote it.

    Args:
        data: A dict.
        where: Where it stands, for errors.

    Raises:
        InvalidRequest: If it is not a message; the text says where and why.
    """
    if isinstance(data, Mapping) and REST in data:
        stored = cast("Mapping[str, object]", data)
        return whole_message(stored, lambda: _message(stored, where), where)
    return _message(cast("Mapping[str, object]", data), where)


def _message(data: Mapping[str, object], where: str) -> Message:
    if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] (not every caller is checked)
        raise InvalidRequest(f"{where} must be a message or a dict, not {_shown(data)}")
    name = _optional(data, "name", where)
    match data.get("role"):
        case "system":
            return SystemMessage(_text(data.get("content"), where), name)
        case "developer":
            return DeveloperMessage(_text(data.get("content"), where), name)
        case "user":
            return UserMessage(_content(data.get("content"), where), name)
        case "assistant":
            content = data.get("content")
            return AssistantMessage(
                None if content is None else _text(content, where) or None,
                _calls(data.get("tool_calls"), f"{where}.tool_calls"),
                _optional(data, "refusal", where),
                name,
                {key: value for key, value in data.items() if key not in _ASSISTANT},
            )
        case "tool":
            text, images = _shown_result(data.get("content"), where)
            return ToolMessage(_required(data, "tool_call_id", where), text, images=images)
        case role:
            raise InvalidRequest(f"{where}.role must be system, developer, user, assistant or tool, not {_shown(role)}")


def _required(data: Mapping[str, object], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{where}.{key} must be a text that is not empty, not {_shown(value)}")
    return value


def _optional(data: Mapping[str, object], key: str, where: str) -> str | None:
    return None if data.get(key) in (None, "") else _required(data, key, where)


def _text(content: object, where: str) -> str:
    """Read a content that must be text; a list of text blocks is the text that they make."""
    parts = _content(content, where)
    if isinstance(parts, str):
        return parts
    if images := [part for part in parts if isinstance(part, ImagePart)]:
        raise InvalidRequest(f"{where}.content has an image ({images[0].url[:40]!r}); only a user message can")
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def _shown_result(content: object, where: str) -> tuple[str, tuple[ImagePart, ...]]:
    """Read what a tool returned; some formats have images there."""
    parts = _content(content, where)
    if isinstance(parts, str):
        return parts, ()
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    return "".join(texts), tuple([part for part in parts if isinstance(part, ImagePart)])


def _content(content: object, where: str) -> Content:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise InvalidRequest(f"{where}.content must be a text or a list of blocks, not {_shown(content)}")
    blocks = cast("Sequence[object]", content)
    return tuple([_part(block, f"{where}.content[{at}]") for at, block in enumerate(blocks)])


def _part(block: object, where: str) -> Part:
    match block:
        case TextPart() | ImagePart():
            return block
        case {"type": "text", "text": str(text)}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url)}} if url:
            detail: Any = object_of(object_of(block)["image_url"]).get("detail")
            if detail not in (None, "auto", "low", "high"):
                raise InvalidRequest(f"{where}.image_url.detail must be auto, low or high, not {_shown(detail)}")
            return ImagePart(url, detail)
        case _:
            raise InvalidRequest(f"{where} must be a block of type text or image_url, not {_shown(block)}")


def _calls(calls: object, where: str) -> tuple[ToolCall, ...]:
    if calls is None:
        return ()
    if not isinstance(calls, list | tuple):
        raise InvalidRequest(f"{where} must be a list, not {_shown(calls)}")
    return tuple([_call(each, f"{where}[{at}]") for at, each in enumerate(cast("Sequence[object]", calls))])


def _call(call: object, where: str) -> ToolCall:
    match call:
        case ToolCall():
            return call
        case {"id": str(call_id), "function": {"name": str(name)}} if call_id and name:
            fields = object_of(call)
            arguments = object_of(fields["function"]).get("arguments")
            extra = {key: value for key, value in fields.items() if key not in _CALL}
            return ToolCall(call_id, name, _arguments(arguments, where), extra)
        case _:
            raise InvalidRequest(f"{where} must have an id and a function with a name, not {_shown(call)}")


def _arguments(arguments: object, where: str) -> str:
    if isinstance(arguments, str):
        return arguments or "{}"
    try:
        return "{}" if arguments is None else encode(arguments).decode()
    except ValueError as error:
        raise InvalidRequest(f"{where}.function.arguments has what JSON cannot say: {error}") from error


def _shown(value: object) -> str:
    """Show a value in an error: an image may be megabytes."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def stored(message: Message) -> dict[str, object]:
    """Give a message as a plain dict that is read back as exactly this message.

    The dict is what an endpoint would be sent. Where that loses something, such as how a call ended, the whole of a
    shortened result, or arguments that are no JSON, the key `agentkit` has it. `Agent.run` takes such dicts as it takes
    others; take the key out before you send one yourself.

    Args:
        message: The message.

    Returns:
        Texts, numbers, lists and dicts: any JSON library can write them.

    Raises:
        InvalidRequest: If `extra` has what JSON cannot say.
    """
    wire = object_of(decode(message.encoded))
    try:
        read = message_of(wire, "the message")
    except InvalidRequest:
        read = None
    rest = rest_of(message, read)
    return wire | {REST: rest} if rest else wire


def dumps(messages: Iterable[Message]) -> str:
    """Write messages as one JSON array.

    Args:
        messages: A history, such as `result.messages`.

    Raises:
        InvalidRequest: If `extra` has what JSON cannot say.
    """
    return json_of([stored(each) for each in messages])


def loads(text: str | bytes) -> tuple[Message, ...]:
    """Read messages that `dumps` wrote, exactly as they were, or any JSON array of messages as the wire has them.

    Args:
        text: The array.

    Raises:
        InvalidRequest: If it is none; the text says where and why.
    """
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the history is not JSON: {error}") from error
    if not isinstance(data, list):
        raise InvalidRequest(f"the history must be a JSON array, not {type(data).__name__}")
    return tuple([message_of(each, f"messages[{at}]") for at, each in enumerate(list_of(cast("object", data)))])


def json_of(value: object) -> str:
    """Write what `stored` gave, in one line.

    Raises:
        InvalidRequest: If it is nested too deep.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise InvalidRequest("extra is nested too deep to be stored") from error
