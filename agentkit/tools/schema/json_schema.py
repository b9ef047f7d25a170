"""A validator from a JSON schema, for tools that bring a schema instead of a signature.

It enforces draft 2020-12, and of older drafts what is common: `definitions`, `dependencies`, lists as `items`,
`nullable`. What it cannot enforce is in `Arguments.unenforced`: references to elsewhere, `$dynamicRef`,
`unevaluatedItems`, `unevaluatedProperties`, and patterns that look around or refer back. `format` describes and is not
checked, as in the standard.

A schema may come from a stranger. No recursion follows it here, its size is bounded, references that lead nowhere are
refused, and a value is checked in a bounded number of steps. pydantic, which an earlier version translated schemas to,
overflows the stack of the process for a reference to itself.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, cast
from warnings import warn

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError, from_json, to_json

from agentkit.core.errors import ToolDefinitionError
from agentkit.core.json import decode, encode, excerpt
from agentkit.tools.context import InjectedParameter
from agentkit.tools.schema.annotations import JsonSchema
from agentkit.tools.schema.json_checks import Checking, TooComplex
from agentkit.tools.schema.json_compiler import Compiler, inside
from agentkit.tools.schema.signature import Arguments

_MOST_VALUES = 50_000
_DEEPEST = 64
# How a number begins or ends that may be beyond a double's range.
_BEYOND = re.compile(r"\d[eE]\+?\d{3}|\d{309}")


def arguments_from_schema(
    name: str, schema: Mapping[str, Any], injected: tuple[InjectedParameter, ...] = ()
) -> Arguments:
    """Make the arguments of the tool `name` from a JSON schema of type `object`; `injected` are further parameters.

    Warns of what is not enforced.

    Raises:
        ToolDefinitionError: If it is not a JSON schema, or one that cannot be enforced.
    """
    whole = sendable_schema(name, schema)
    if whole.get("type") != "object":
        raise ToolDefinitionError(f'{name}: the schema of a tool\'s arguments must have "type": "object"')
    validator = JsonValidator(whole, name)
    if validator.unenforced:
        warn(f"{name}: its schema is not enforced at {excerpt(', '.join(validator.unenforced))}", stacklevel=3)
    return Arguments(whole, lambda: validator, injected=injected, unenforced=validator.unenforced)


def check_sendable(name: str, schema: Mapping[str, Any]) -> None:
    """Refuse a schema that is too large or too deep, or has a number that is not finite."""
    level: list[object] = [schema]
    values = depth = 0
    while level:
        values, depth = values + len(level), depth + 1
        if values > _MOST_VALUES or depth > _DEEPEST:
            raise ToolDefinitionError(
                f"{name}: the schema of its arguments has more than {_MOST_VALUES:,} values or {_DEEPEST} levels"
            )
        if any(isinstance(value, float) and not isfinite(value) for value in level):
            raise ToolDefinitionError(f"{name}: the schema of its arguments has a number that is not finite")
        level = [inner for value in level for inner in inside(value)]


def sendable_schema(name: str, schema: Mapping[str, Any]) -> JsonSchema:
    """Return a copy of a schema as plain JSON; `ToolDefinitionError` if it has no JSON form or is too large."""
    check_sendable(name, schema)
    try:
        return cast("JsonSchema", decode(encode(schema)))
    except (ValueError, TypeError) as error:
        raise ToolDefinitionError(f"{name}: the schema of its arguments has no JSON form: {error}") from error


def lenient_arguments(name: str, schema: Mapping[str, Any], injected: tuple[InjectedParameter, ...] = ()) -> Arguments:
    """Make arguments from the schema of somebody else, who checks them too.

    A schema that cannot be enforced is sent, with a warning; one that cannot even be sent becomes any object.
    """
    try:
        return arguments_from_schema(name, schema, injected)
    except ToolDefinitionError as error:
        warn(f"offered without enforcement: {error}", stacklevel=2)
    whole: JsonSchema
    try:
        whole = sendable_schema(name, schema)
    except ToolDefinitionError:
        whole = {"type": "object"}
    validator = JsonValidator({"type": "object"}, name)
    return Arguments(whole, lambda: validator, injected=injected, unenforced=("the whole schema",))


class JsonValidator:
    """Validates JSON against a schema.

    Attributes:
        unenforced: What is not enforced: the paths to keywords.
    """

    def __init__(self, schema: object, title: str) -> None:
        compiler = Compiler(schema, title)
        self._title = title
        self._root = compiler.root
        self.unenforced = tuple(compiler.unenforced)

    def validate_json(self, data: str | bytes) -> Any:
        """Return the decoded value, or raise `ValidationError`. Numbers such as `1.0` become integers where one is due.

        `NaN`, `Infinity`, and numbers beyond the range of a double are no JSON.
        """
        try:
            value = from_json(data, allow_inf_nan=False)
            if _BEYOND.search(data if isinstance(data, str) else data.decode()):
                from_json(to_json(value, inf_nan_mode="constants"), allow_inf_nan=False)
        except (ValueError, TypeError) as error:
            detail = InitErrorDetails(type="json_invalid", input=data, ctx={"error": str(error)})
            raise ValidationError.from_exception_data(self._title, [detail], "json") from None
        checking = Checking()
        try:
            details = [fault.details() for fault in self._root.faults(value, checking)]
        except TooComplex:
            text = "These arguments take too many steps to check; write shorter ones"
            details = [InitErrorDetails(type=PydanticCustomError("too_complex", text), input=value)]
        if details:
            raise ValidationError.from_exception_data(self._title, details, "json")
        return _with_integers(value, checking.whole) if checking.whole else value


def _with_integers(value: Any, whole: set[int]) -> Any:
    if isinstance(value, dict):
        return {name: _with_integers(item, whole) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_with_integers(item, whole) for item in cast("list[object]", value)]
    return int(value) if id(value) in whole else value
