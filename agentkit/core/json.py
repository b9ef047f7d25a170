"""Encodes and decodes JSON: compact UTF-8 out, RFC 8259 in."""

import json
import re
from typing import cast

from pydantic_core import PydanticSerializationError, from_json, to_json

_EXCERPT = 200

# A pair of surrogates, a lone one (the group), or any other escape.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def whole(text: str) -> str:
    """Return `text` with surrogate pairs joined and each lone surrogate replaced by U+FFFD.

    A lone surrogate cannot be sent as UTF-8; one in a history would make every later request fail.
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {_without_surrogates(key): _without_surrogates(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in cast("list[object]", value)]
    return value


def encode(value: object) -> bytes:
    """Encode plain data as JSON: the same value always gives the same bytes.

    `ValueError` if a part of it has no JSON form, or it is nested deeper than 200 levels.
    """
    try:
        return to_json(value, inf_nan_mode="strings")
    except PydanticSerializationError as error:
        try:
            return to_json(_without_surrogates(value), inf_nan_mode="strings")
        except RecursionError:
            raise error from None


def decode(text: str | bytes) -> object:
    """Decode one JSON document.

    A lone surrogate is replaced, as `whole` does. `ValueError` for `NaN` and `Infinity`, as in the standard, for more
    than 200 levels, and for an integer of more than 4,300 digits.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except TypeError:
        return decode(whole(cast("str", text)).encode())
    except ValueError:
        data = text.encode() if isinstance(text, str) else text
        mended = _ESCAPE.sub(lambda escape: b"\\ufffd" if escape[1] else escape[0], data)
        if mended == data:
            raise
        return from_json(mended, allow_inf_nan=False)


def decode_piece(text: bytes) -> object:
    """Decode a piece of a stream as `decode` does, but keep half a surrogate pair: the next piece may have the rest."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        decode(text)  # raises, unless surrogates are the only fault
        return json.loads(text)


def decode_beginning(text: str) -> object:
    """Decode the beginning of a JSON document, or raise `ValueError`; a string that is cut counts as far as it goes."""
    return from_json(whole(text), allow_inf_nan=False, allow_partial="trailing-strings")


def excerpt(value: object) -> str:
    """Return the beginning of a value's repr, for errors: an image may be megabytes."""
    text = repr(value)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


def object_of(value: object) -> dict[str, object]:
    """Return a decoded value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType] (`cast` takes time)


def list_of(value: object) -> list[object]:
    """Return a decoded value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] (as above)


def normalized(value: object) -> object:
    """Return decoded data that is encoded as the same bytes if it is equal: keys sorted, numbers in one spelling."""
    if isinstance(value, dict):
        return {key: normalized(item) for key, item in sorted(object_of(cast("object", value)).items())}
    if isinstance(value, list):
        return [normalized(item) for item in list_of(cast("object", value))]
    return int(value) if isinstance(value, float) and value.is_integer() else value
