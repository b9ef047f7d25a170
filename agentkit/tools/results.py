"""Tool results as the model reads them: what a tool returned, or what went wrong."""

import json
import re
from os import urandom
from typing import Any, NamedTuple, cast

from pydantic_core import ValidationError, to_json, to_jsonable_python

from agentkit.core.errors import ToolError
from agentkit.core.json import decode, whole
from agentkit.core.parts import Media
from agentkit.tools.options import Errors

_MAX_ERROR = 2000
_MAX_VALUE = 200
_JSON_WORDS = {"None": "null", "True": "true", "False": "false"}
_PYTHON_WORD = re.compile(r"(?<!['\w])(None|True|False)(?!['\w])")
_FIELDS = re.compile("detail|format|file_id")  # of each image, recording and file
_IMAGE = "(an image, shown after the results)"
_IMAGE_NOTE = "The image is shown after the results."


class ToolResult(NamedTuple):
    """What a tool returned, as the model receives it."""

    text: str
    images: tuple[Media, ...] = ()


def to_tool_result(value: object) -> ToolResult:
    """Turn a return value into text, and images, recordings and files: each that it is or has, at any depth."""
    text, images = result_text(value), list[Media]()
    if isinstance(value, str) or not _FIELDS.search(text):  # most results need no search
        return ToolResult(text)
    try:
        value = _without_images(value, images)
    except RecursionError:  # a list in itself
        return ToolResult(text)
    if not images:
        return ToolResult(text)
    parts = [part for part in cast("list[object]", value) if part != _IMAGE] if isinstance(value, list) else [value]
    text = "\n".join([result_text(part) for part in parts if part != _IMAGE])
    return ToolResult(text or _IMAGE_NOTE, tuple(images))


def _without_images(value: object, images: list[Media]) -> object:
    """Collect the images in a value, and return it with a word in the place of each."""
    if isinstance(value, Media):
        images.append(value)
        return _IMAGE
    before = len(images)
    changed: object = value
    if issubclass(type(value), list | tuple):
        changed = [_without_images(item, images) for item in cast("list[object]", value)]
    elif issubclass(type(value), dict):
        items = cast("dict[object, object]", value).items()
        changed = {key: _without_images(item, images) for key, item in items}
    elif fields := _fields_of(value):
        changed = {key: _without_images(item, images) for key, item in fields.items()}
    return changed if len(images) > before else value


def _fields_of(value: object) -> dict[str, object]:
    """Return the fields of a dataclass or a model by the names in its JSON; of any other value, nothing."""
    kind = type(value)
    declared: Any = getattr(kind, "__pydantic_fields__", None) or getattr(kind, "__dataclass_fields__", {})
    return {
        getattr(field, "serialization_alias", None) or name: getattr(value, name)
        for name, field in declared.items()
        if hasattr(value, name) and not getattr(field, "exclude", None)
    }


def result_text(value: object) -> str:
    """Turn a return value into text, without lone surrogates. The value is not kept.

    A text stays as it is. Anything else becomes its JSON: models, dataclasses, containers, numbers. If the JSON is a
    string (a date, a path, an enum of texts), it is that string without quotes. A value with no JSON form is its `str`.
    """
    if isinstance(value, str):
        return whole(str(value))
    try:
        encoded = to_json(value, fallback=_str, inf_nan_mode="strings", by_alias=True)
        return str(decode(encoded)) if encoded.startswith(b'"') else encoded.decode()
    except Exception:  # noqa: BLE001 (a model's serializer, a property or a key may raise anything)
        return _text_with_surrogates(value)


def _text_with_surrogates(value: object) -> str:
    """Return the JSON of a value with half a character in it, or the text of one that has no JSON form."""
    try:
        plain = to_jsonable_python(value, fallback=_str, inf_nan_mode="strings", by_alias=True)
        return whole(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))
    except Exception:  # noqa: BLE001 (as above)
        return whole(_str(value))


def _str(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 (a `__str__` may raise anything)
        return f"<{type(value).__name__} that cannot be shown>"


def _json(value: object) -> str:
    try:
        return to_json(value, fallback=_str, inf_nan_mode="strings", by_alias=True).decode()
    except Exception:  # noqa: BLE001 (half a character, or what a validator made of the value)
        return repr(_str(value))


def error_text(error: BaseException, errors: Errors) -> str:
    """Return what the model sees of an exception: at most 2,000 characters, without a traceback.

    `errors` decides: `"show"` for its type and text, `"hide"` for an incident id, or a function that returns the text.
    A `ToolError` always shows its text.
    """
    error = unwrap_group(error)
    if isinstance(error, ToolError):
        return whole(_str(error))[:_MAX_ERROR]
    if callable(errors) and isinstance(error, Exception):
        try:
            return whole(errors(error))[:_MAX_ERROR]
        except Exception:  # noqa: BLE001 (the user's function failed too; the event has the tool's exception)
            errors = "hide"
    if errors == "show":
        return _shown(error)[:_MAX_ERROR]
    return f"The tool failed (incident {urandom(4).hex()})."


def _shown(error: BaseException) -> str:
    if not isinstance(error, BaseExceptionGroup):
        return ": ".join(filter(None, (type(error).__name__, whole(_str(error)))))
    group = cast("BaseExceptionGroup[BaseException]", error)
    return f"{type(group).__name__}: {whole(group.message)} ({'; '.join(map(_shown, group.exceptions))})"


def unwrap_group(error: BaseException) -> BaseException:
    """Return the one exception in a group of one, however deeply nested; any other exception as it is."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    first, *others = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return cast("BaseException", error) if others else unwrap_group(first)


def invalid_arguments_text(error: ValidationError, tool: str) -> str:
    """Explain to the model, argument by argument, what is wrong with a call."""
    lines = [f"The arguments of {tool} are not valid, so it was not run:"]
    for detail in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in detail["loc"])
        value = _json(detail["input"]) if where else _str(detail["input"])
        value = value if len(value) <= _MAX_VALUE else value[:_MAX_VALUE] + "…"
        got = "" if detail["type"] == "missing" else f" (got {value})"
        message = detail["msg"]
        if detail["type"] in ("none_required", "literal_error", "enum"):
            message = _PYTHON_WORD.sub(lambda word: _JSON_WORDS[word[0]], message)
        lines.append(f"- {where}: {message}{got}" if where else f"- {message}{got}")
    return whole("\n".join(lines))[:_MAX_ERROR]
