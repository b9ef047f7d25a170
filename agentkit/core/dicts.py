"""Messages as plain dicts: read as the wire has them, and stored so that they are read back exactly as they were.

A stored message is what an endpoint would be sent, so any JSON tool can read a history. The wire loses some of it: how
a call ended, the whole of a shortened result, arguments that are no JSON. The key `agentkit` has what the wire loses.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from agentkit.core.codec import differences, read, write
from agentkit.core.errors import InvalidRequest
from agentkit.core.json import decode, encode, excerpt, list_of, object_of
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from agentkit.core.parts import AudioPart, Content, FilePart, ImagePart, Media, Part, TextPart

Prompt: TypeAlias = str | Message | Sequence[Message | Mapping[str, object]]
"""What a run begins with: a string, a message, or a history of messages and plain dicts."""

REST: Final = "agentkit"
"""The key of a stored message that has what its wire form loses."""

_CALL = frozenset({"id", "type", "function", "index"})
_ASSISTANT = frozenset({"role", "content", "tool_calls", "refusal", "name", REST})


def messages_of(prompt: Prompt) -> tuple[Message, ...]:
    """Return the messages of a prompt; `InvalidRequest` says which of them is none, and why."""
    if isinstance(prompt, str):
        return (UserMessage(prompt),)
    if isinstance(prompt, Message):
        return (prompt,)
    if not isinstance(cast("object", prompt), Sequence):
        raise InvalidRequest(f"the prompt must be a text, a message or a list of messages, not {excerpt(prompt)}")
    return tuple(
        [item if isinstance(item, Message) else message_of(item, f"messages[{at}]") for at, item in enumerate(prompt)]
    )


def message_of(data: object, where: str) -> Message:
    """Read a message as the wire has it, or as `stored` wrote it; `InvalidRequest` calls it `where`."""
    if not isinstance(data, Mapping):
        raise InvalidRequest(f"{where} must be a message or a dict, not {excerpt(data)}")
    fields = cast("Mapping[str, object]", data)
    rest = fields.get(REST)
    try:
        if "role" in object_of(rest):
            return read(cast("type[Message]", Message), rest, where=f"{where}.{REST}")
        message = _from_wire(fields, where)
        return read(type(message), rest, message, f"{where}.{REST}") if REST in fields else message
    except InvalidRequest:
        raise
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


def _from_wire(data: Mapping[str, object], where: str) -> Message:
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
            parts = _parts(data.get("content"), where)
            images = tuple([part for part in parts if isinstance(part, Media)])  # some formats have them here
            return ToolMessage(_required(data, "tool_call_id", where), _joined(parts), images=images)
        case role:
            known = "system, developer, user, assistant or tool"
            raise InvalidRequest(f"{where}.role must be {known}, not {excerpt(role)}")


def _required(data: Mapping[str, object], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{where}.{key} must be a text that is not empty, not {excerpt(value)}")
    return value


def _optional(data: Mapping[str, object], key: str, where: str) -> str | None:
    return None if data.get(key) in (None, "") else _required(data, key, where)


def _text(content: object, where: str) -> str:
    """Return the text of a content that cannot have images, recordings or files."""
    parts = _parts(content, where)
    if media := [part for part in parts if isinstance(part, Media)]:
        kind = str(media[0].to_dict()["type"])
        raise InvalidRequest(f"{where}.content has a block of type {kind}; only a user message can")
    return _joined(parts)


def _joined(parts: Iterable[Part]) -> str:
    """Return the texts, each on a line of its own, as the templates of open models have them."""
    return "\n".join([part.text for part in parts if isinstance(part, TextPart)])


def _parts(content: object, where: str) -> tuple[Part, ...]:
    parts = _content(content, where)
    return (TextPart(parts),) if isinstance(parts, str) else parts


def _content(content: object, where: str) -> Content:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise InvalidRequest(f"{where}.content must be a text or a list of blocks, not {excerpt(content)}")
    blocks = cast("Sequence[object]", content)
    return tuple([_part(block, f"{where}.content[{at}]") for at, block in enumerate(blocks)])


def _part(block: object, where: str) -> Part:
    match block:
        case TextPart() | ImagePart() | AudioPart() | FilePart():
            return block
        case {"type": "text", "text": str(text)}:
            return TextPart(text)
        case {"type": "image_url", "image_url": {"url": str(url)}} if url:
            detail: Any = object_of(object_of(block)["image_url"]).get("detail")
            if detail not in (None, "auto", "low", "high"):
                raise InvalidRequest(f"{where}.image_url.detail must be auto, low or high, not {excerpt(detail)}")
            return ImagePart(url, detail)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": "wav"}} if data:
            return AudioPart(data, "wav")
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": "mp3"}} if data:
            return AudioPart(data, "mp3")
        case {"type": "file"}:
            return _file(object_of(object_of(block).get("file")), where)
        case _:
            known = "text, image_url, input_audio (wav or mp3) or file"
            raise InvalidRequest(f"{where} must be a block of type {known}, not {excerpt(block)}")


def _file(fields: Mapping[str, object], where: str) -> FilePart:
    own: dict[str, Any] = {name: fields.get(name) for name in ("file_data", "filename", "file_id")}
    try:
        return FilePart(**own)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{where}.file: {error}") from error


def _calls(calls: object, where: str) -> tuple[ToolCall, ...]:
    if calls is None:
        return ()
    if not isinstance(calls, list | tuple):
        raise InvalidRequest(f"{where} must be a list, not {excerpt(calls)}")
    return tuple([_call(call, f"{where}[{at}]") for at, call in enumerate(cast("Sequence[object]", calls))])


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
            raise InvalidRequest(f"{where} must have an id and a function with a name, not {excerpt(call)}")


def _arguments(arguments: object, where: str) -> str:
    if isinstance(arguments, str):
        return arguments or "{}"
    try:
        return "{}" if arguments is None else encode(arguments).decode()
    except ValueError as error:
        raise InvalidRequest(f"{where}.function.arguments has a value with no JSON form: {error}") from error


def stored(message: Message) -> dict[str, object]:
    """Return a message as a plain dict that is read back as exactly this message.

    The dict is what an endpoint would be sent. Where that loses something, such as how a call ended, the whole of a
    shortened result, or arguments that are no JSON, the key `agentkit` has it. `Agent.run` takes such dicts. Take the
    key out before you send one to an endpoint yourself.

    Args:
        message: The message.

    Returns:
        Strings, numbers, lists and dicts: any JSON library can write them.

    Raises:
        InvalidRequest: If `extra` has a value with no JSON form.
    """
    wire = object_of(decode(message.encoded))
    try:
        base = _from_wire(wire, "the message")
    except InvalidRequest:  # such as a call without an id
        base = None
    try:
        rest = write(message) if base is None else differences(message, base)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"extra has a value with no JSON form: {error}") from error
    return wire | {REST: rest} if rest else wire


def dumps(messages: Iterable[Message]) -> str:
    """Return messages as one JSON array.

    Args:
        messages: A history, such as `result.messages`.

    Raises:
        InvalidRequest: If `extra` has a value with no JSON form.
    """
    return json_of([stored(message) for message in messages])


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
    return tuple([message_of(item, f"messages[{at}]") for at, item in enumerate(list_of(cast("object", data)))])


def json_of(value: object) -> str:
    """Return what `stored` returned as JSON, in one line; `InvalidRequest` if it is nested too deep."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise InvalidRequest("extra is nested too deep to be stored") from error
