"""Values of a run as JSON that DBOS stores: replies, decisions and errors, read back as what they were."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from dbos import Serializer

from agentkit.core import errors
from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.choice import ToolChoice
from agentkit.core.dicts import message_of, stored
from agentkit.core.errors import AgentkitError, Partial
from agentkit.core.json import list_of, object_of
from agentkit.core.lossless import exact, value_of
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from agentkit.tools.approval import Decision

_MESSAGES = (AssistantMessage, DeveloperMessage, SystemMessage, ToolMessage, UserMessage)
_VALUES = {each.__name__: each for each in (ChatResponse, Choice, Decision, Partial, ToolCall, ToolChoice, Usage)}
_ERRORS = {
    name: each for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, AgentkitError)
}
_LEFT_OUT = ("sent",)  # what was sent over HTTP is made anew from the history, and no file needs it


def packed(value: Any) -> object:
    """Write a value as plain JSON data that `unpacked` reads as the same value.

    Raises:
        ValueError: If it is neither plain data nor one of the values that runs are made of.
    """
    if isinstance(value, _MESSAGES):
        return {"$message": stored(value)}
    if isinstance(value, frozenset):
        return {"$set": sorted([packed(each) for each in cast("frozenset[object]", value)], key=repr)}
    if isinstance(value, tuple):
        return {"$tuple": [packed(each) for each in cast("tuple[object, ...]", value)]}
    if is_dataclass(value) and type(value).__name__ in _VALUES:
        names = [each.name for each in fields(value) if each.init and each.name not in _LEFT_OUT]
        return {f"${type(value).__name__}": {name: packed(getattr(value, name)) for name in names}}
    written = exact(value)
    return {"$": written} if isinstance(value, Mapping | list) else written


def unpacked(written: object) -> Any:  # noqa: PLR0911 (a table)
    """Read what `packed` wrote.

    Raises:
        ValueError: If it is of a kind that is not known here, as of a newer version.
    """
    if not isinstance(written, dict):
        return written
    ((mark, data),) = object_of(cast("object", written)).items()
    match mark:
        case "$message":
            return message_of(data, "the message")
        case "$set":
            return frozenset([unpacked(each) for each in list_of(data)])
        case "$tuple":
            return tuple([unpacked(each) for each in list_of(data)])
        case "$":
            return value_of(data)
        case _ if mark[1:] in _VALUES:
            cls: Any = _VALUES[mark[1:]]
            names = {each.name for each in fields(cls)}
            return cls(**{name: unpacked(each) for name, each in object_of(data).items() if name in names})
        case _:
            return value_of(cast("object", written))


def error_record(error: BaseException) -> dict[str, object]:
    """Write an error: agentkit's own with all that it says, another one as its type and text."""
    name = type(error).__name__
    if name not in _ERRORS:
        return {"error": "AgentkitError", "args": packed((f"the run ended with {name}: {error}",)), "fields": {}}
    kept: dict[str, object] = {}
    for key, value in vars(error).items():
        if key not in _LEFT_OUT:
            try:
                kept[key] = packed(value)
            except ValueError:
                continue  # of an observer's or a wrapper's own; the error is the same without it
    return {"error": name, "args": packed(tuple([str(each) for each in error.args])), "fields": kept}


def error_of(record: Mapping[str, object]) -> AgentkitError:
    """Read what `error_record` wrote."""
    cls = _ERRORS.get(str(record["error"]), AgentkitError)
    error = cls.__new__(cls, *unpacked(record["args"]))
    for name, value in object_of(record["fields"]).items():
        setattr(error, name, unpacked(value))
    return error


class Json(Serializer):
    """What DBOS stores, as JSON that any program can read, and not as pickles."""

    def name(self) -> str:
        """Say which form it is."""
        return "agentkit_json"

    def serialize(self, data: Any) -> str:
        """Write an input, a record, an outcome or an error."""
        return json.dumps(error_record(data) if isinstance(data, BaseException) else data, separators=(",", ":"))

    def deserialize(self, serialized_data: str) -> Any:
        """Read it."""
        data = json.loads(serialized_data)
        return error_of(object_of(data)) if "error" in object_of(data) else data
