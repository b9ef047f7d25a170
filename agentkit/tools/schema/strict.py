"""Strict schemas: the form that endpoints with `"strict": true` want.

There every object is closed and every property required
(https://platform.openai.com/docs/guides/structured-outputs#supported-schemas). A parameter that may be left out becomes
one that may be null, and null then stands for its default; the default itself is told in the description.
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
_TOLD = ("minLength", "maxLength", "minProperties", "maxProperties")
_DROPPED = ("default", "discriminator", "uniqueItems", "examples", "deprecated", "readOnly", "writeOnly")
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_KINDS = ("type", "$ref", "anyOf", "oneOf", "enum", "const")


class NotStrict(ValueError):
    """The reason why a schema has no strict form."""


def strict_schema(schema: Mapping[str, object], where: str = "") -> JsonSchema:
    """Make the strict form of a JSON schema.

    Args:
        schema: The schema.
        where: The path to it, for the error.

    Returns:
        A new schema. What it accepts, less nulls for what may be left out, the old one accepts too.

    Raises:
        NotStrict: If there is none; the text says where and why.
    """
    if reason := _refusal(schema):
        raise NotStrict(f"{where or 'the arguments'}: {reason}")
    strict: JsonSchema = {}
    told: list[str] = []
    for keyword, value in schema.items():
        if keyword in _TOLD:
            told.append(f"{keyword}: {value}.")
        elif keyword not in _DROPPED and not _beyond(keyword, value):
            strict["anyOf" if keyword == "oneOf" else keyword] = _inside(keyword, value, where)
    if schema.get("type") == "object":
        _close(strict, schema, where)
    return _described(strict, told)


def _refusal(schema: Mapping[str, object]) -> str | None:
    """Give the reason why a schema, whatever is inside it, has no strict form."""
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


def _inside(keyword: str, value: object, where: str) -> object:
    if keyword in ("anyOf", "oneOf"):
        branches = cast("list[JsonSchema]", value)
        return [strict_schema(each, f"{where}[{number}]") for number, each in enumerate(branches)]
    if keyword == "items":
        return strict_schema(cast("JsonSchema", value), f"{where}[]")
    if keyword == "$defs":
        return {name: strict_schema(each, name) for name, each in cast("dict[str, JsonSchema]", value).items()}
    return value


def _beyond(keyword: str, value: object) -> bool:
    """Tell whether a strict endpoint refuses a format or a pattern; the validator here still checks it."""
    return (keyword == "format" and value not in _FORMATS) or (keyword == "pattern" and "(?" in str(value))


def _close(strict: JsonSchema, schema: Mapping[str, object], where: str) -> None:
    required = cast("list[str]", schema.get("required", []))
    properties = cast("dict[str, JsonSchema]", schema.get("properties", {}))
    strict["properties"] = {
        name: (strict_schema if name in required else _optional)(each, f"{where}.{name}" if where else name)
        for name, each in properties.items()
    }
    strict["required"] = list(properties)
    strict["additionalProperties"] = False


def _optional(schema: JsonSchema, where: str) -> JsonSchema:
    strict = strict_schema(schema, where)
    if "const" in schema:
        return strict  # the mark of a kind, in which there is no choice
    default = None if schema.get("default") is None else encode(schema["default"]).decode()
    if _takes_null(schema):
        return _described(strict, [f"Default: {default}."] if default else [])
    outer: JsonSchema = {}
    if description := strict.pop("description", None):
        outer["description"] = description
    branches = cast("list[JsonSchema]", strict["anyOf"]) if strict.keys() == {"anyOf"} else [strict]
    outer["anyOf"] = [*branches, {"type": "null"}]
    return _described(outer, [f"Null means the default: {default}." if default else "Null leaves it out."])


def _takes_null(schema: JsonSchema) -> bool:
    branches = cast("list[JsonSchema]", schema.get("anyOf", schema.get("oneOf", [])))
    nulls = (schema.get("type") == "null", None in cast("list[object]", schema.get("enum", [])))
    return any(nulls) or any(_takes_null(each) for each in branches)


def _described(schema: JsonSchema, told: list[str]) -> JsonSchema:
    """Add to the description; beside a `$ref`, strict endpoints take nothing, so that goes into a branch."""
    if told:
        text = str(schema.get("description", "")).rstrip()
        text += "." if text and text[-1].isalnum() else ""
        schema["description"] = " ".join([text, *told]).strip()
    if "$ref" in schema and len(schema) > 1:
        schema["anyOf"] = [{"$ref": schema.pop("$ref")}]
    return schema
