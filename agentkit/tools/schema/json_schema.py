"""A validator from a JSON schema, for tools that bring a schema instead of a signature.

What is enforced: `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`, `anyOf`, `oneOf`,
`allOf`, `$ref` to a definition, bounds, lengths, and patterns. A keyword beyond these is told to the model and not
checked.
"""

import re
from collections.abc import Callable, Mapping
from math import ceil, floor
from typing import Any, cast

from pydantic_core import CoreSchema, PydanticCustomError, SchemaError, SchemaValidator, core_schema

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.signature import Arguments

_REFERENCES = ("#/$defs/", "#/definitions/")
_NUMBERS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
_STRINGS = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_ARRAYS = {"minItems": "min_length", "maxItems": "max_length"}


def arguments_from_schema(name: str, schema: Mapping[str, object]) -> Arguments:
    """Make a tool's arguments from a JSON schema.

    Args:
        name: The tool's name, for errors.
        schema: A JSON schema of type `object`.

    Raises:
        ToolDefinitionError: If it is not the schema of an object, or not a schema.
    """
    if schema.get("type") != "object":
        raise ToolDefinitionError(f'{name}: the schema of a tool\'s arguments must have "type": "object"')
    try:
        validator = SchemaValidator(_with_definitions(schema))
    except (SchemaError, TypeError, AttributeError, KeyError) as error:
        raise ToolDefinitionError(f"{name}: not a JSON schema that can be enforced: {error}") from error
    return Arguments(dict(schema), lambda: validator)


def _with_definitions(schema: Mapping[str, Any]) -> CoreSchema:
    # A definition that is itself a reference still needs a name of its own.
    definitions: list[CoreSchema] = [
        core_schema.chain_schema([_core(each)], ref=prefix + name)
        for prefix in _REFERENCES
        for name, each in schema.get(prefix.strip("#/"), {}).items()
    ]
    core = _core(schema)
    return core_schema.definitions_schema(core, definitions) if definitions else core


def _core(schema: Any) -> CoreSchema:
    if not isinstance(schema, Mapping):
        return core_schema.any_schema()
    schema = cast("Mapping[str, Any]", schema)
    if str(schema.get("$ref", "")).startswith(_REFERENCES):
        return core_schema.definition_reference_schema(schema["$ref"])
    if "enum" in schema or "const" in schema:
        return _one_of(list(schema.get("enum", [schema.get("const")])))
    steps = [_core(each) for each in schema.get("allOf", ())]
    steps += [_any_of([_core(each) for each in schema[keyword]]) for keyword in ("anyOf", "oneOf") if keyword in schema]
    kinds = schema.get("type", "object" if "properties" in schema else [])
    if kinds:
        steps.append(_any_of([_typed(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)]))
    if not steps:
        return core_schema.any_schema()
    core = steps[0] if len(steps) == 1 else core_schema.chain_schema(steps)
    return core_schema.nullable_schema(core) if schema.get("nullable") is True else core


def _one_of(allowed: list[Any]) -> CoreSchema:
    def check(value: Any) -> Any:
        # True == 1 in Python, and not in JSON.
        if not any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in allowed):
            raise PydanticCustomError("enum", "Input should be one of {allowed}", {"allowed": repr(allowed)})
        return value

    return core_schema.no_info_plain_validator_function(check)


def _any_of(cores: list[CoreSchema]) -> CoreSchema:
    return cores[0] if len(cores) == 1 else core_schema.union_schema([*cores])


def _typed(kind: str, schema: Mapping[str, Any]) -> CoreSchema:
    if kind not in _TYPES:
        raise SchemaError(f"there is no type {kind!r}")
    return _TYPES[kind](schema)


def _limits(schema: Mapping[str, Any], keywords: Mapping[str, str]) -> dict[str, Any]:
    # Before draft 6 a bound was exclusive by a boolean beside it.
    return {ours: schema[each] for each, ours in keywords.items() if not isinstance(schema.get(each, True), bool)}


def _number(schema: Mapping[str, Any]) -> CoreSchema:
    def check(value: Any, handler: Callable[[Any], float]) -> float:
        checked = handler(value)
        return value if type(value) is int else checked  # an integer stays one

    return core_schema.no_info_wrap_validator_function(check, core_schema.float_schema(**_limits(schema, _NUMBERS)))


def _integer(schema: Mapping[str, Any]) -> CoreSchema:
    limits = _limits(schema, _NUMBERS)
    # The bounds of integers are integers: 0.5 below is 1, and a step that is not whole says nothing that can be held.
    rounded = {name: (ceil if name in ("ge", "lt") else floor)(value) for name, value in limits.items()}
    if limits.get("multiple_of") != rounded.get("multiple_of"):
        del rounded["multiple_of"]
    return core_schema.int_schema(**rounded)


def _string(schema: Mapping[str, Any]) -> CoreSchema:
    limits = _limits(schema, _STRINGS)
    try:
        re.compile(limits.get("pattern", ""))
    except re.error as error:
        if "bad escape" in error.msg:
            del limits["pattern"]  # another dialect's, such as \p{L}: it is told to the model and not checked
    return core_schema.str_schema(**limits, regex_engine="python-re")


def _object(schema: Mapping[str, Any]) -> CoreSchema:
    required = dict.fromkeys(schema.get("required", ()), True)
    fields = {
        name: core_schema.typed_dict_field(_core(each), required=name in required)
        for name, each in {**required, **schema.get("properties", {})}.items()
    }
    extras = schema.get("additionalProperties", True)
    if extras is False:
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")
    return core_schema.typed_dict_schema(fields, extras_schema=_core(extras), extra_behavior="allow")


_TYPES: Mapping[str, Callable[[Mapping[str, Any]], CoreSchema]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda _: core_schema.bool_schema(),
    "null": lambda _: core_schema.none_schema(),
    "array": lambda schema: core_schema.list_schema(_core(schema.get("items")), **_limits(schema, _ARRAYS)),
    "object": _object,
}
