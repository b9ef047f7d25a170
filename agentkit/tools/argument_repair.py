"""Mending what models really send: one deterministic pass over arguments, and only over arguments that failed.

- a code fence around the object, or the object as a JSON string (once more encoded);
- half a character, a lone surrogate: joined with its other half, or replaced;
- a value inside it as a JSON string (`"[1, 2]"` for a list, `"null"` for nothing);
- an object or a list where a text is wanted: its JSON;
- null for a parameter that may be left out;
- `functions.name` or another case for a tool's name.
"""

from string import ascii_letters
from typing import Any, NamedTuple, cast

from pydantic_core import ValidationError

from agentkit.core.json import decode, encode
from agentkit.tools.schema.signature import Arguments

_FENCE = "```"
_NOTHING = ("null", "None", "none", "undefined")
NULL_LEFT_OUT = "null left out"


class ArgumentRepair(NamedTuple):
    """One thing that was mended.

    Attributes:
        where: The path to it, such as `filters.0.name`; empty for the whole.
        what: What was done.
    """

    where: str
    what: str


def parse_arguments(arguments: Arguments, text: str) -> tuple[dict[str, Any], tuple[ArgumentRepair, ...]]:
    """Validate arguments; if they fail, mend them once and validate again.

    Args:
        arguments: What the tool takes.
        text: What the model sent.

    Returns:
        The values as the annotated types, and what was mended (nothing, as a rule).

    Raises:
        pydantic.ValidationError: If they do not fit, mended or not.
    """
    try:
        return arguments.validate(text), ()
    except ValidationError as error:
        failed = error
    data, repairs = _unwrapped(text)
    if data is None:
        raise failed
    if not repairs and not failed.errors(include_url=False, include_input=False)[0]["loc"]:
        repairs.append(ArgumentRepair("", "half a character joined or replaced"))
    if repairs:
        try:
            return arguments.validate(encode(data)), tuple(repairs)
        except ValidationError as error:
            failed = error
    _mend_values(data, failed, repairs)
    try:
        return arguments.validate(encode(data)), tuple(repairs)
    except ValidationError:
        raise failed from None  # what the model sent is what it should hear of


def match_tool_name(name: str, known: frozenset[str]) -> str | None:
    """Give the one known name that `name` must mean, or `None`."""
    bare = name.strip().rpartition(".")[2].rpartition(":")[2].strip().lower()
    meant = [each for each in known if each.lower() == bare]
    return meant[0] if len(meant) == 1 else None


def _unwrapped(text: str) -> tuple[dict[str, Any] | None, list[ArgumentRepair]]:
    repairs: list[ArgumentRepair] = []
    if not text.strip() or text.strip() in _NOTHING:
        return {}, [ArgumentRepair("", "no arguments, taken for an empty object")]
    if (bare := _unfenced(text)) != text:
        repairs.append(ArgumentRepair("", "code fence taken off"))
    data = _decoded(bare)
    if isinstance(data, str) and isinstance(inside := _decoded(_unfenced(data)), dict):
        data = cast("object", inside)
        repairs.append(ArgumentRepair("", "decoded once more"))
    return (cast("dict[str, Any]", data) if isinstance(data, dict) else None), repairs


def _unfenced(text: str) -> str:
    inside = text.strip()
    if not (inside.startswith(_FENCE) and inside.endswith(_FENCE)):
        return text
    return inside.removeprefix(_FENCE).removesuffix(_FENCE).lstrip(ascii_letters)


def _decoded(text: str) -> object:
    try:
        return decode(text)
    except ValueError:
        return None


def _mend_values(data: dict[str, Any], failed: ValidationError, repairs: list[ArgumentRepair]) -> None:
    """Mend in place each value that an error points to."""
    seen: set[str] = set()
    for error in failed.errors(include_url=False, include_context=False):
        parent, key, where = _locate(data, error["loc"])
        if where in seen or not where:
            continue
        seen.add(where)
        value = parent[key]
        if isinstance(value, str):
            inside = None if value.strip() in _NOTHING else _decoded(value)
            if inside is not None or value.strip() in _NOTHING:
                parent[key] = inside
                repairs.append(
                    ArgumentRepair(where, "decoded once more" if inside is not None else f"{value!r} read as null")
                )
        elif error["type"] == "string_type" and isinstance(value, dict | list):
            parent[key] = encode(cast("object", value)).decode()
            repairs.append(ArgumentRepair(where, "put into a text as JSON"))
        elif value is None and isinstance(parent, dict):
            del parent[key]
            repairs.append(ArgumentRepair(where, NULL_LEFT_OUT))


def _locate(data: dict[str, Any], loc: tuple[int | str, ...]) -> tuple[Any, Any, str]:
    """Follow an error's location into the data; what is in it and not in the data names a branch of a union."""
    here: Any = data
    parent: Any = None
    key: Any = None
    path: list[str] = []
    for part in loc:
        if isinstance(here, str):
            break
        try:
            inside = here[part]
        except (KeyError, IndexError, TypeError):
            continue
        parent, key, here = here, part, inside
        path.append(str(part))
    return parent, key, ".".join(path)
