"""What the wire form of a message loses, in JSON that any library can carry, and the message made whole from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from math import isfinite
from typing import Any, Final, cast, get_args

from agentkit.core.errors import InvalidRequest
from agentkit.core.json import list_of, object_of, whole
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    Outcome,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    UserMessage,
)

REST: Final = "agentkit"
"""The key of a stored message that has what its wire form loses."""

_CLASSES: dict[object, type[Message]] = {
    "system": SystemMessage,
    "developer": DeveloperMessage,
    "user": UserMessage,
    "assistant": AssistantMessage,
    "tool": ToolMessage,
}
_NAMES = {cls: [each.name for each in fields(cls) if each.init] for cls in (*_CLASSES.values(), ToolCall)}
_KINDS: dict[str, Any] = {
    "name": str | None,
    "refusal": str | None,
    "origin": str | None,
    "full": str | None,
    "note": bool,
    "extra": dict,
    "outcome": get_args(Outcome),
    "images": (),
    "tool_calls": (),
}
_NEEDED = ("id", "name", "arguments")
_WORD = 2**63
_SHOWN = 200


def exact(value: object) -> object:  # noqa: PLR0911 (a table)
    """Write a value so that any JSON library gives back what `value_of` reads as the same value.

    Most values are written as they are. A dict with one key, which begins with `$`, stands for one that JSON cannot
    say, or that libraries read in different ways: a text with lone surrogates, a whole number of more than 64 bits.

    Raises:
        ValueError: If it is no plain data: texts, numbers, lists, tuples and mappings of such.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if whole(value) == value else {"$text": value.encode("unicode_escape").decode("ascii")}
    if isinstance(value, int):
        return value if -_WORD <= value < _WORD else {"$int": hex(value)}
    if isinstance(value, float):
        return value if isfinite(value) else {"$float": repr(value)}
    if isinstance(value, list):
        return [exact(each) for each in list_of(cast("object", value))]
    if isinstance(value, tuple):
        return {"$tuple": [exact(each) for each in cast("tuple[object, ...]", value)]}
    if isinstance(value, Mapping):
        data = cast("Mapping[object, object]", value)
        if all(isinstance(key, str) and whole(key) == key for key in data) and not _is_mark(data):
            return {key: exact(each) for key, each in data.items()}
        return {"$dict": [[exact(key), exact(each)] for key, each in data.items()]}
    raise ValueError(f"a value of type {type(value).__name__}")


def value_of(written: object) -> object:
    """Read what `exact` wrote.

    Raises:
        ValueError: If it has a mark that is not known here.
    """
    if isinstance(written, list):
        return [value_of(each) for each in list_of(cast("object", written))]
    if not isinstance(written, dict):
        return written
    data = object_of(cast("object", written))
    if _is_mark(data):
        return _marked(*next(iter(data.items())))
    return {key: value_of(each) for key, each in data.items()}


def _marked(mark: str, value: object) -> object:
    match mark, value:
        case "$text", str():
            return value.encode("ascii").decode("unicode_escape")
        case "$int", str():
            return int(value, 16)
        case "$float", ("inf" | "-inf" | "nan"):
            return float(cast("str", value))
        case "$tuple", _:
            return tuple([value_of(each) for each in list_of(value)])
        case "$dict", _:
            return {value_of(key): value_of(each) for key, each in map(list_of, list_of(value))}
        case _:
            raise ValueError(f"{_shown({mark: value})} is not known to this version")


def _is_mark(data: Mapping[Any, object]) -> bool:
    key = next(iter(data)) if len(data) == 1 else None
    return isinstance(key, str) and key.startswith("$")


def rest_of(message: Message, read: Message | None) -> dict[str, object]:
    """Give what a message has that its wire form loses; often nothing.

    Args:
        message: The message.
        read: What its wire form is read as, or `None` if that cannot be read: then everything is given.

    Raises:
        InvalidRequest: If `extra` has what JSON cannot say.
    """
    rest: dict[str, object] = {}
    for name in _NAMES[type(message)]:
        value = getattr(message, name)
        if read is None or value != getattr(read, name):
            rest[name] = _written(value, None if read is None else getattr(read, name))
    if read is not None and len(rest) == len(_NAMES[type(message)]):
        return rest_of(message, None)  # for who reads it, everything is what is complete in itself
    try:
        return object_of(exact(rest))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"extra has what JSON cannot say: {error}") from error


def _written(value: object, read: object) -> object:
    if not isinstance(value, tuple):
        return value
    if value and isinstance(value[0], ToolCall):
        calls = cast("tuple[ToolCall, ...]", value)
        others = (None,) * len(calls) if read is None else cast("tuple[ToolCall, ...]", read)
        return [_difference(*pair) for pair in zip(calls, others, strict=True)]
    return [each.to_dict() for each in cast("tuple[TextPart | ImagePart, ...]", value)]


def _difference(call: ToolCall, read: ToolCall | None) -> dict[str, object]:
    """Give the fields of a call that its wire form loses."""
    names = [name for name in _NAMES[ToolCall] if read is None or getattr(call, name) != getattr(read, name)]
    return {name: getattr(call, name) for name in names}


def whole_message(data: Mapping[str, object], read: Callable[[], Message], where: str) -> Message:
    """Make a stored message what it was. What is not known here, as of a newer version, is left out.

    Args:
        data: The message, with what `rest_of` gave.
        read: Reads its wire form.
        where: Where it stands, for errors.

    Raises:
        InvalidRequest: If something in it is of a wrong type; the text says where.
    """
    cls = _CLASSES.get(data["role"]) if isinstance(data.get("role"), str) else None
    if cls is None:
        return read()  # and be told so
    where = f"{where}.{REST}"
    try:
        rest = value_of(data[REST])
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"{where} cannot be read: {error}") from error
    if not isinstance(rest, dict):
        raise InvalidRequest(f"{where} must be a dict, not {_shown(rest)}")
    known = object_of(cast("object", rest))
    names = [name for name in _NAMES[cls] if name in known]
    base = None if len(names) == len(_NAMES[cls]) else read()
    changes: dict[str, Any] = {name: _field(cls, name, known[name], base, f"{where}.{name}") for name in names}
    return cast("Callable[..., Message]", cls)(**changes) if base is None else replace(base, **changes)


def _field(cls: type[Message], name: str, value: object, base: Message | None, where: str) -> object:
    """Read a field."""
    items = list_of(value) if _is_list(value) else None
    if items is not None and ((cls, name) == (UserMessage, "content") or name == "images"):
        return tuple([_part(each, f"{where}[{at}]", text=name == "content") for at, each in enumerate(items)])
    if items is not None and name == "tool_calls":
        return _calls(items, base.tool_calls if isinstance(base, AssistantMessage) else None, where)
    return _checked(value, _KINDS.get(name, str | None if (cls, name) == (AssistantMessage, "content") else str), where)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _checked(value: object, kind: Any, where: str) -> object:
    if not (value in kind if isinstance(kind, tuple) else isinstance(value, kind)):
        raise InvalidRequest(f"{where} is not what it can be: {_shown(value)}")
    return value


def _part(value: object, where: str, *, text: bool) -> TextPart | ImagePart:
    block = object_of(value)
    image = object_of(block.get("image_url"))
    url, detail, words = image.get("url"), cast("Any", image.get("detail")), block.get("text")
    if block.get("type") == "text" and text and isinstance(words, str):
        return TextPart(words)
    if block.get("type") != "image_url" or not isinstance(url, str) or detail not in (None, "auto", "low", "high"):
        raise InvalidRequest(f"{where} is not a block that it can be: {_shown(value)}")
    return ImagePart(url, detail)


def _calls(value: Sequence[object], base: tuple[ToolCall, ...] | None, where: str) -> tuple[ToolCall, ...]:
    """Make calls whole; without a base, everything of them must be there."""
    if base is not None and len(base) != len(value):
        raise InvalidRequest(f"{where} must have as many entries as tool_calls, {len(base)}, not {len(value)}")
    calls: list[ToolCall] = []
    for at, each in enumerate(value):
        known: dict[str, Any] = {name: object_of(each)[name] for name in _NAMES[ToolCall] if name in object_of(each)}
        texts = [name for name in _NEEDED if name in known or base is None]
        if not all(isinstance(known.get(name), str) for name in texts) or not isinstance(known.get("extra", {}), dict):
            raise InvalidRequest(f"{where}[{at}] is not what a call can be: {_shown(each)}")
        calls.append(ToolCall(**known) if base is None else replace(base[at], **known))
    return tuple(calls)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
