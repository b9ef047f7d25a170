"""Answers to calls: what a tool returned, or what went wrong, as the text that the model reads."""

from os import urandom
from typing import Any, NamedTuple, cast

from pydantic_core import ValidationError, to_json

from agentkit.core.errors import ToolError
from agentkit.core.json import decode, whole
from agentkit.core.messages import ImagePart
from agentkit.tools.options import Errors

_LONGEST = 2000
_IMAGE = "The image is shown after the results."
_LONGEST_VALUE = 200


class ToolResult(NamedTuple):
    """What a tool returned, as the model gets it."""

    text: str
    images: tuple[ImagePart, ...] = ()


def to_tool_result(value: object) -> ToolResult:
    """Turn what a tool returned into text and images, once.

    Args:
        value: Anything; an `ImagePart`, or a list that has some, is shown to the model.
    """
    parts = _parts(value)
    images = tuple([each for each in parts if isinstance(each, ImagePart)])
    if not images:
        return ToolResult(result_text(value))
    texts = [result_text(each) for each in parts if not isinstance(each, ImagePart)]
    return ToolResult("\n".join(texts) or _IMAGE, images)


def _parts(value: object) -> list[object]:
    return list(cast("list[object]", value)) if isinstance(value, list | tuple) else [value]


def result_text(value: object) -> str:
    """Turn what a tool returned into text, once.

    A text stays as it is. Anything else is its JSON: models, dataclasses, containers, numbers; a value whose JSON is a
    text (a date, a path, an enum of texts) is that text, without quotes. What JSON cannot say is its `str`.

    Args:
        value: Anything. It is not kept, so changing it later does not change the history.

    Returns:
        The text, with no lone surrogate in it.
    """
    if isinstance(value, str):
        return whole(str(value))
    try:
        encoded = to_json(value, fallback=_said, inf_nan_mode="strings", by_alias=True)
        return str(decode(encoded)) if encoded.startswith(b'"') else encoded.decode()
    except Exception:  # noqa: BLE001 (a model's serializer, a property or a key may raise anything; the answer must not)
        return whole(_said(value))


def _said(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 (a `__str__` may raise anything)
        return f"<{type(value).__name__} that cannot be shown>"


def error_text(error: BaseException, errors: Errors) -> str:
    """Say what a tool raised, as far as the model is to know it.

    Args:
        error: The exception. A `ToolError` is always told by its text.
        errors: `"show"` for its type and text, `"hide"` for an incident id, or a function that says it.

    Returns:
        At most 2,000 characters, without a traceback.
    """
    error = unwrap_group(error)
    if isinstance(error, ToolError):
        return whole(_said(error))[:_LONGEST]
    if callable(errors) and isinstance(error, Exception):
        try:
            return whole(errors(error))[:_LONGEST]
        except Exception:  # noqa: BLE001 (the user's function failed too; the event has what the tool raised)
            errors = "hide"
    if errors == "show":
        said = whole(_said(error))
        return (f"{type(error).__name__}: {said}" if said else type(error).__name__)[:_LONGEST]
    return f"The tool failed (incident {urandom(4).hex()})."


def unwrap_group(error: BaseException) -> BaseException:
    """Give the one exception in a group of one, however deep."""
    several: tuple[BaseException, ...] = getattr(error, "exceptions", ()) if _is_group(error) else ()
    return unwrap_group(several[0]) if len(several) == 1 else error


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


def invalid_arguments_text(error: ValidationError, tool: str) -> str:
    """Explain to the model, argument by argument, what was wrong with a call."""
    lines = [f"The arguments of {tool} are not valid, so it was not run:"]
    for each in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in each["loc"])
        got = "" if each["type"] == "missing" else f" (got {_short(each['input'])})"
        lines.append(f"- {where}: {each['msg']}{got}" if where else f"- {each['msg']}{got}")
    return whole("\n".join(lines))[:_LONGEST]


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= _LONGEST_VALUE else said[:_LONGEST_VALUE] + "…"
