"""The one place where JSON is written and read: compact UTF-8 out, RFC 8259 in."""

from typing import cast

from pydantic_core import PydanticSerializationError, from_json, to_json


def whole(text: str) -> str:
    """Give back `text` with surrogate pairs joined and each lone surrogate replaced by U+FFFD.

    A lone surrogate cannot be sent as UTF-8; one in a history would make every later request fail.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _mended(value: object) -> object:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in cast("list[object]", value)]
    return value


def encode(value: object) -> bytes:
    """Encode plain data as JSON: the same value always gives the same bytes.

    Raises:
        ValueError: If the value has a part that JSON cannot say.
    """
    try:
        return to_json(value, inf_nan_mode="strings")
    except PydanticSerializationError:
        return to_json(_mended(value), inf_nan_mode="strings")


def decode(text: str | bytes) -> object:
    """Decode one JSON document.

    `NaN` and `Infinity` are refused, as the standard has it; integers of any size are kept.

    Raises:
        ValueError: If the text is not one JSON document, or is nested deeper than 200 levels.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except UnicodeEncodeError:
        return from_json(whole(text) if isinstance(text, str) else text, allow_inf_nan=False)


def object_of(value: object) -> dict[str, object]:
    """Give a decoded value as the object that it is; anything else is an empty one."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def list_of(value: object) -> list[object]:
    """Give a decoded value as the list that it is; anything else is an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []
