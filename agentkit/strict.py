"""Strict schemas: the form that endpoints with `"strict": true` want.

There every object is closed and every property required
(https://platform.openai.com/docs/guides/structured-outputs#supported-schemas). A parameter that may be left out becomes one
that may be null, and null then stands for its default; the default itself is told in the description.
"""

from collections.abc import Mapping
from typing import cast

from agentkit._json import encode
from agentkit.fragments import JsonSchema

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
    for keyword, reason in _REFUSED.items():
        if keyword in schema:
            raise NotStrict(f"{where or 'the arguments'}: {reason}")
    if not any(keyword in schema for keyword in _KINDS):
        raise NotStrict(f"{where or 'the arguments'}: a value of any type has no strict form; annotate it")
    strict: JsonSchema = {}
    told: list[str] = []
    for keyword, value in schema.items():
        if keyword in ("anyOf", "oneOf"):
            branches = cast("list[JsonSchema]", value)
            strict["anyOf"] = [strict_schema(each, f"{where}[{number}]") for number, each in enumerate(branches)]
        elif keyword == "items":
            strict["items"] = strict_schema(cast("JsonSchema", value), f"{where}[]")
        elif keyword == "$defs":
            definitions = cast("dict[str, JsonSchema]", value)
            strict["$defs"] = {name: strict_schema(each, name) for name, each in definitions.items()}
        elif keyword in _TOLD:
            told.append(f"{keyword}: {value}.")
        elif keyword not in _DROPPED and not _beyond(keyword, value):
            strict[keyword] = value
    if schema.get("type") == "array" and "items" not in schema:
        raise NotStrict(f"{where}: a list of anything has no strict form; annotate its items, as list[str]")
    if schema.get("type") == "object":
        _close(strict, schema, where)
    return _described(strict, told)


def _beyond(keyword: str, value: object) -> bool:
    """Tell whether a strict endpoint refuses a format or a pattern; the validator here still checks it."""
    return (keyword == "format" and value not in _FORMATS) or (keyword == "pattern" and "(?" in str(value))


def _close(strict: JsonSchema, schema: Mapping[str, object], where: str) -> None:
    if schema.get("additionalProperties") or (
        "properties" not in schema and schema.get("additionalProperties") is not False
    ):
        raise NotStrict(
            f"{where or 'the arguments'}: an object with open keys (a dict, or **options) has no strict form; use a dataclass, a model or a "
            "list of key and value pairs"
        )
    required = cast("list[str]", schema.get("required", []))
    properties = cast("dict[str, JsonSchema]", schema.get("properties", {}))
    strict["properties"] = {
        name: _property(each, name in required, f"{where}.{name}" if where else name)
        for name, each in properties.items()
    }
    strict["required"] = list(properties)
    strict["additionalProperties"] = False


def _property(schema: JsonSchema, required: bool, where: str) -> JsonSchema:  # noqa: FBT001 (a private step)
    strict = strict_schema(schema, where)
    if required:
        return strict
    told = [f"Default: {encode(schema['default']).decode()}."] if schema.get("default") is not None else []
    if _takes_null(schema):
        return _described(strict, told)
    description = strict.pop("description", None)
    strict = {"anyOf": [strict, {"type": "null"}]}
    if description:
        strict["description"] = description
    return _described(strict, [told[0].replace("Default", "Null means the default") if told else "Null leaves it out."])


def _takes_null(schema: JsonSchema) -> bool:
    branches = cast("list[JsonSchema]", schema.get("anyOf", []))
    return "null" in cast("list[str]", schema.get("type", [])) or any(each.get("type") == "null" for each in branches)


def _described(schema: JsonSchema, told: list[str]) -> JsonSchema:
    """Add to the description; beside a `$ref`, strict endpoints take nothing, so that goes into a branch."""
    if told:
        text = str(schema.get("description", "")).rstrip()
        text += "." if text and text[-1].isalnum() else ""
        schema["description"] = " ".join([text, *told]).strip()
    if "$ref" in schema and len(schema) > 1:
        schema["anyOf"] = [{"$ref": schema.pop("$ref")}]
    return schema
