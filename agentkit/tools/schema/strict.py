"""Strict schemas: the form that endpoints with `"strict": true` require.

Every object is closed and every property required
(https://platform.openai.com/docs/guides/structured-outputs#supported-schemas). An optional parameter becomes nullable,
and null stands for its default, which the description names.
"""

from collections.abc import Mapping
from typing import cast

from agentkit.core.json import encode
from agentkit.tools.schema.annotations import JsonSchema

_REFUSED = {
    "prefixItems": "a tuple of several types has no strict form; use a dataclass or a model with named fields",
    "patternProperties": "an object with open keys has no strict form; use a list of key and value pairs",
    "not": "`not` has no strict form",
    "if": "`if` has no strict form",
    "dependentSchemas": "dependent schemas have no strict form",
    "allOf": "`allOf` has no strict form; write the parts as one schema",
}
_TO_DESCRIPTION = ("minLength", "maxLength", "minProperties", "maxProperties")
_DROPPED = ("default", "discriminator", "uniqueItems", "examples", "deprecated", "readOnly", "writeOnly")
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_KINDS = ("type", "$ref", "anyOf", "oneOf", "enum", "const")


class NotStrict(ValueError):
    """The reason why a schema has no strict form."""


def strict_schema(schema: Mapping[str, object], where: str = "") -> JsonSchema:
    """Return the strict form of a JSON schema; `NotStrict` says where, beginning at the path `where`, there is none.

    The schema accepts whatever the strict form accepts, except for nulls as defaults.
    """
    if reason := _refusal(schema):
        raise NotStrict(f"{where or 'the arguments'}: {reason}")
    strict: JsonSchema = {}
    sentences: list[str] = []
    for keyword, value in schema.items():
        if keyword in _TO_DESCRIPTION:
            sentences.append(f"{keyword}: {value}.")
        elif keyword not in _DROPPED and not _is_unsupported(keyword, value):
            strict["anyOf" if keyword == "oneOf" else keyword] = _inner(keyword, value, where)
    if schema.get("type") == "object":
        required = cast("list[str]", schema.get("required", []))
        properties = cast("dict[str, JsonSchema]", schema.get("properties", {}))
        strict["properties"] = {
            name: (strict_schema if name in required else _nullable)(inner, f"{where}.{name}" if where else name)
            for name, inner in properties.items()
        }
        strict |= {"required": list(properties), "additionalProperties": False}
    return _with_description(strict, sentences)


def _refusal(schema: Mapping[str, object]) -> str | None:
    """Return the reason why a schema has no strict form, whatever is inside it."""
    for keyword, reason in _REFUSED.items():
        if keyword in schema:
            return reason
    if not any(keyword in schema for keyword in _KINDS):
        return "a value of any type has no strict form; annotate it"
    if schema.get("type") == "array" and not schema.get("items"):
        return "a list of anything has no strict form; annotate its items, as list[str]"
    if schema.get("type") == "object" and schema.get("additionalProperties", "properties" not in schema) is not False:
        return (
            "an object with open keys (a dict, or **options) has no strict form; use a dataclass, a model or a list of "
            "key and value pairs"
        )
    return None


def _inner(keyword: str, value: object, where: str) -> object:
    if keyword in ("anyOf", "oneOf"):
        branches = cast("list[JsonSchema]", value)
        return [strict_schema(branch, f"{where}[{number}]") for number, branch in enumerate(branches)]
    if keyword == "items":
        return strict_schema(cast("JsonSchema", value), f"{where}[]")
    if keyword == "$defs":
        definitions = cast("dict[str, JsonSchema]", value)
        return {name: strict_schema(definition, name) for name, definition in definitions.items()}
    return value


def _is_unsupported(keyword: str, value: object) -> bool:
    """Whether a strict endpoint refuses a format or a pattern; agentkit still validates it."""
    return (keyword == "format" and value not in _FORMATS) or (keyword == "pattern" and "(?" in str(value))


def _nullable(schema: JsonSchema, where: str) -> JsonSchema:
    strict = strict_schema(schema, where)
    if "const" in schema:
        return strict  # the tag of a union, which leaves no choice
    default = None if schema.get("default") is None else encode(schema["default"]).decode()
    if _accepts_null(schema):
        return _with_description(strict, [f"Default: {default}."] if default else [])
    outer: JsonSchema = {}
    if description := strict.pop("description", None):
        outer["description"] = description
    branches = cast("list[JsonSchema]", strict["anyOf"]) if strict.keys() == {"anyOf"} else [strict]
    outer["anyOf"] = [*branches, {"type": "null"}]
    return _with_description(outer, [f"Null means the default: {default}." if default else "Null leaves it out."])


def _accepts_null(schema: JsonSchema) -> bool:
    branches = cast("list[JsonSchema]", schema.get("anyOf", schema.get("oneOf", [])))
    is_null = schema.get("type") == "null" or None in cast("list[object]", schema.get("enum", []))
    return is_null or any(_accepts_null(branch) for branch in branches)


def _with_description(schema: JsonSchema, sentences: list[str]) -> JsonSchema:
    """Add to the description. Strict endpoints allow nothing beside a `$ref`, so that goes into a branch."""
    if sentences:
        text = str(schema.get("description", "")).rstrip()
        text += "." if text and text[-1].isalnum() else ""
        schema["description"] = " ".join([text, *sentences]).strip()
    if "$ref" in schema and len(schema) > 1:
        schema["anyOf"] = [{"$ref": schema.pop("$ref")}]
    return schema
