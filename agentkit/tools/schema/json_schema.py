"""A validator from a JSON schema, for tools that bring a schema instead of a signature.

It enforces `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `items`, `anyOf`, `oneOf`,
`allOf`, `$ref` to a definition, bounds, lengths, and patterns. The model sees any other keyword, but it is not checked.
"""

import re
from collections.abc import Callable, Mapping
from math import ceil, floor
from typing import Any, cast

from pydantic_core import CoreSchema, PydanticCustomError, SchemaError, core_schema

from agentkit.core.errors import ToolDefinitionError
from agentkit.core.json import encode
from agentkit.tools.context import InjectedParameter
from agentkit.tools.schema.core_schemas import build_validator
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


def arguments_from_schema(
    name: str, schema: Mapping[str, Any], injected: tuple[InjectedParameter, ...] = ()
) -> Arguments:
    """Make the arguments of the tool `name` from a JSON schema of type `object`; `injected` are further parameters."""
    if schema.get("type") != "object":
        raise ToolDefinitionError(f'{name}: the schema of a tool\'s arguments must have "type": "object"')
    try:
        # A definition that is only a reference itself still needs its own name, which `chain_schema` gives it.
        definitions = [
            core_schema.chain_schema([_core(definition)], ref=prefix + key)
            for prefix in _REFERENCES
            for key, definition in schema.get(prefix.strip("#/"), {}).items()
        ]
        validator = build_validator(_core(schema), definitions)
    except (SchemaError, TypeError, AttributeError, KeyError) as error:
        raise ToolDefinitionError(f"{name}: not a JSON schema that can be enforced: {error}") from error
    return Arguments(dict(schema), lambda: validator, injected=injected)


def _core(schema: Any) -> CoreSchema:
    if not isinstance(schema, Mapping):
        return core_schema.any_schema()
    schema = cast("Mapping[str, Any]", schema)
    if str(schema.get("$ref", "")).startswith(_REFERENCES):
        return core_schema.definition_reference_schema(schema["$ref"])
    if "enum" in schema or "const" in schema:
        return _enum(list(schema.get("enum", [schema.get("const")])))
    steps = [_core(part) for part in schema.get("allOf", ())]
    steps += [_union([_core(branch) for branch in schema[key]]) for key in ("anyOf", "oneOf") if key in schema]
    types = schema.get("type", "object" if "properties" in schema else [])
    if types:
        steps.append(_union([_typed(name, schema) for name in ([types] if isinstance(types, str) else types)]))
    if not steps:
        return core_schema.any_schema()
    core = steps[0] if len(steps) == 1 else core_schema.chain_schema(steps)
    return core_schema.nullable_schema(core) if schema.get("nullable") is True else core


def _enum(allowed: list[Any]) -> CoreSchema:
    def check(value: Any) -> Any:
        # True == 1 in Python, but not in JSON.
        if not any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in allowed):
            raise PydanticCustomError("enum", "Input should be one of {allowed}", {"allowed": encode(allowed).decode()})
        return value

    return core_schema.no_info_plain_validator_function(check)


def _union(branches: list[CoreSchema]) -> CoreSchema:
    return branches[0] if len(branches) == 1 else core_schema.union_schema([*branches])


def _typed(name: str, schema: Mapping[str, Any]) -> CoreSchema:
    if name not in _TYPES:
        raise SchemaError(f"there is no type {name!r}")
    return _TYPES[name](schema)


def _limits(schema: Mapping[str, Any], keywords: Mapping[str, str]) -> dict[str, Any]:
    # Before draft 6 a bound was exclusive by a boolean beside it.
    return {ours: schema[key] for key, ours in keywords.items() if not isinstance(schema.get(key, True), bool)}


def _number(schema: Mapping[str, Any]) -> CoreSchema:
    def check(value: Any, handler: Callable[[Any], float]) -> float:
        checked = handler(value)
        return value if type(value) is int else checked  # an integer stays one

    return core_schema.no_info_wrap_validator_function(check, core_schema.float_schema(**_limits(schema, _NUMBERS)))


def _integer(schema: Mapping[str, Any]) -> CoreSchema:
    limits = _limits(schema, _NUMBERS)
    # pydantic wants integers here: a minimum of 0.5 is 1. A step that is not whole cannot be checked.
    rounded = {name: (ceil if name in ("ge", "lt") else floor)(value) for name, value in limits.items()}
    if limits.get("multiple_of") != rounded.get("multiple_of"):
        del rounded["multiple_of"]
    return core_schema.int_schema(**rounded)


def _string(schema: Mapping[str, Any]) -> CoreSchema:
    limits = _limits(schema, _STRINGS)
    if "pattern" in limits:  # JavaScript's names of groups are written as Python's
        named = re.sub(r"(?<!\\)\(\?<([A-Za-z_]\w*)>", r"(?P<\1>", limits["pattern"])
        limits["pattern"] = re.sub(r"\\k<(\w+)>", r"(?P=\1)", named)
    try:
        re.compile(limits.get("pattern", ""))
    except re.error as error:
        if "bad escape" in error.msg or "unknown extension" in error.msg:
            del limits["pattern"]  # of another dialect, such as \p{L}
    return core_schema.str_schema(**limits, regex_engine="python-re")


def _object(schema: Mapping[str, Any]) -> CoreSchema:
    required = dict.fromkeys(schema.get("required", ()), True)
    fields = {
        name: core_schema.typed_dict_field(_core(field), required=name in required)
        for name, field in {**required, **schema.get("properties", {})}.items()
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
