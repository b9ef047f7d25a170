"""Repair of what models really send: one deterministic pass over arguments, and only over arguments that failed.

- a code fence around the object, or the object as a JSON string (encoded twice);
- half a character, a lone surrogate: joined with its other half, or replaced;
- a value inside it as a JSON string (`"[1, 2]"` for a list, `"null"` for nothing);
- an object or a list instead of a text: its JSON;
- null for a parameter that may be left out;
- `functions.name` or another case for a tool's name.
"""

from string import ascii_letters
from typing import Any, NamedTuple, cast

from pydantic_core import ValidationError

from agentkit.core.json import decode, encode
from agentkit.tools.schema.signature import Arguments

_FENCE = "```"
_NULLS = ("null", "None", "none", "undefined")
_NOT_READ = ("json_invalid", "string_unicode")
_DECODED_TWICE = "decoded once more"
NULL_LEFT_OUT = "null left out"


class ArgumentRepair(NamedTuple):
    """One repair: the path to the value, such as `filters.0.name` (empty for the whole), and what was done."""

    where: str
    what: str


def parse_arguments(arguments: Arguments, text: str) -> tuple[dict[str, Any], tuple[ArgumentRepair, ...]]:
    """Validate what the model sent. If that fails, repair it once and validate again, or raise `ValidationError`."""
    try:
        return arguments.validate(text), ()
    except ValidationError as error:
        failed = error
    data, repairs = _parse_object(text)
    if data is None:
        raise failed
    if not repairs and failed.errors(include_url=False, include_input=False)[0]["type"] in _NOT_READ:
        repairs.append(ArgumentRepair("", "half a character joined or replaced"))
    if repairs:
        try:
            return arguments.validate(encode(data)), tuple(repairs)
        except ValidationError as error:
            failed = error
    _repair_values(data, failed, repairs)
    try:
        return arguments.validate(encode(data)), tuple(repairs)
    except ValidationError:
        raise failed from None  # the model should read about what it sent


def match_tool_name(name: str, known: frozenset[str]) -> str | None:
    """Return the one known name that `name` must mean, or `None`."""
    bare = name.strip().rpartition(".")[2].rpartition(":")[2].strip().lower()
    matches = [candidate for candidate in known if candidate.lower() == bare]
    return matches[0] if len(matches) == 1 else None


def _parse_object(text: str) -> tuple[dict[str, Any] | None, list[ArgumentRepair]]:
    repairs: list[ArgumentRepair] = []
    if not text.strip() or text.strip() in _NULLS:
        return {}, [ArgumentRepair("", "no arguments, read as an empty object")]
    if (bare := _without_fence(text)) != text:
        repairs.append(ArgumentRepair("", "code fence removed"))
    data = _decode_or_none(bare)
    if isinstance(data, str) and isinstance(inner := _decode_or_none(_without_fence(data)), dict):
        data = cast("object", inner)
        repairs.append(ArgumentRepair("", _DECODED_TWICE))
    return (cast("dict[str, Any]", data) if isinstance(data, dict) else None), repairs


def _without_fence(text: str) -> str:
    inside = text.strip()
    if not (inside.startswith(_FENCE) and inside.endswith(_FENCE)):
        return text
    return inside.removeprefix(_FENCE).removesuffix(_FENCE).lstrip(ascii_letters)


def _decode_or_none(text: str) -> object:
    try:
        return decode(text)
    except ValueError:
        return None


def _repair_values(data: dict[str, Any], failed: ValidationError, repairs: list[ArgumentRepair]) -> None:
    """Repair in place each value that an error points to."""
    seen = {""}
    for error in failed.errors(include_url=False, include_context=False):
        parent, key, where = _locate(data, error["loc"])
        if where in seen:
            continue
        seen.add(where)
        value = parent[key]
        if isinstance(value, str) and value.strip() in _NULLS:
            parent[key] = None
            repairs.append(ArgumentRepair(where, f"{value!r} read as null"))
        elif isinstance(value, str):
            if (inner := _decode_or_none(value)) is not None:
                parent[key] = inner
                repairs.append(ArgumentRepair(where, _DECODED_TWICE))
        elif error["type"] == "string_type" and isinstance(value, dict | list):
            parent[key] = encode(cast("object", value)).decode()
            repairs.append(ArgumentRepair(where, "put into a text as JSON"))
        elif value is None and isinstance(parent, dict):
            del parent[key]
            repairs.append(ArgumentRepair(where, NULL_LEFT_OUT))


def _locate(data: dict[str, Any], loc: tuple[int | str, ...]) -> tuple[Any, Any, str]:
    """Follow an error's location into the data. A part that is not in the data names a branch of a union."""
    here: Any = data
    parent: Any = None
    key: Any = None
    path: list[str] = []
    for part in loc:
        if isinstance(here, str):
            break
        try:
            inner = here[part]
        except (KeyError, IndexError, TypeError):
            continue
        parent, key, here = here, part, inner
        path.append(str(part))
    return parent, key, ".".join(path)
