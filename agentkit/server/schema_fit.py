"""Whether the answers of one JSON schema fit another one, and if not, where.

The answers are those of a type: what agentkit encodes has no other fields than the type's, and all that have defaults.
In doubt, a schema does not fit: a keyword that is not compared must be the same on both sides.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from agentkit.core.json import encode, list_of, object_of

Misfit: TypeAlias = tuple[str, str]
"""Where a schema does not fit, such as `.properties.city`, and why."""

_Above: TypeAlias = frozenset[tuple[bytes, bytes]]  # the pairs of schemas that are being compared
_NOTES = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"),
    *("deprecated", "readOnly", "writeOnly", "discriminator"),
}
_COMPARED = {"type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems"}
_LEAST = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_MOST = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_IDLE = {"minimum": 1 - 2**53, "maximum": 2**53 - 1, "propertyNames": {"type": "string"}}
"""What zod writes at every integer, which is one of JavaScript's, and at every record."""
_ANYTHING = ("string", "number", "boolean", "null", "array", "object")


class _Side(NamedTuple):
    schema: Mapping[str, object]
    whole: Mapping[str, object]

    def inner(self, schema: object) -> "_Side":
        if schema is False:
            return _Side({"enum": []}, self.whole)
        return _Side(object_of(schema), self.whole)

    def resolved(self) -> "_Side":
        schema, seen = self.schema, set[str]()
        while isinstance(reference := schema.get("$ref"), str) and reference not in seen:
            seen.add(reference)
            target: object = self.whole
            for part in reference.removeprefix("#").split("/")[1:]:
                target = object_of(target).get(part)
            schema = {**object_of(target), **{name: value for name, value in schema.items() if name != "$ref"}}
        return _Side(schema, self.whole)


def misfit(answers: Mapping[str, object], wanted: Mapping[str, object]) -> Misfit | None:
    """Return where a schema does not take all answers of another one, and why; `None` if it takes them all."""
    return _misfit(_Side(answers, answers), _Side(wanted, wanted), "", frozenset())


def _misfit(own: _Side, wanted: _Side, where: str, above: _Above) -> Misfit | None:
    pair = (encode(own.schema), encode(wanted.schema))
    if pair in above:
        return None  # a type within itself: compared further up
    above |= {pair}
    own, wanted = own.resolved(), wanted.resolved()
    branches = _branches(own.schema) or [{"const": value} for value in list_of(own.schema.get("enum"))]
    if branches:
        found = [_misfit(own.inner(branch), wanted, where, above) for branch in branches]
        return next(filter(None, found), None)
    for part in list_of(wanted.schema.get("allOf")):
        if found_in := _misfit(own, wanted.inner(part), where, above):
            return found_in
    if branches := _branches(wanted.schema):
        tried = [_misfit(own, wanted.inner(branch), where, above) for branch in branches]
        return None if None in tried else (tried[0] if len(tried) == 1 else (where, "none of its alternatives fits"))
    return _compared(own, wanted, where, above)


def _branches(schema: Mapping[str, object]) -> list[object]:
    """Return the alternatives of a schema, of which each has what is beside them."""
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            rest = {name: value for name, value in schema.items() if name != keyword}
            return [{**rest, **object_of(branch)} for branch in list_of(schema[keyword])]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in list_of(schema["type"])]
    return []


def _compared(own: _Side, wanted: _Side, where: str, above: _Above) -> Misfit | None:
    own_values, allowed = _values(own.schema), _values(wanted.schema)
    if allowed is not None:
        fits = own_values is not None and all(value in allowed for value in own_values)
        return None if fits else (where, "an answer may have other values")
    kinds, kind = _kinds(own.schema, own_values), wanted.schema.get("type")
    others = [name for name in kinds if name != kind and (name, kind) != ("integer", "number")]
    if kind is not None and others:
        return where, f"an answer has the type {' or '.join(map(str, others))}"
    for name in wanted.schema.keys() - _NOTES - _COMPARED - {"$ref", "allOf"}:
        if not _as_narrow(name, own.schema, wanted.schema):
            return where, f"an answer may break its {name}"
    found = _items_misfit(own, wanted, where, above) if "array" in kinds else None
    return found or (_fields_misfit(own, wanted, where, above) if "object" in kinds else None)


def _values(schema: Mapping[str, object]) -> Sequence[bytes] | None:
    """Return the values that a schema lists, encoded: in JSON, true is not 1."""
    if "const" in schema:
        return [encode(schema["const"])]
    return [encode(value) for value in list_of(schema["enum"])] if "enum" in schema else None


def _kinds(schema: Mapping[str, object], values: Sequence[bytes] | None) -> Sequence[object]:
    if "type" in schema:
        return [schema["type"]]
    if values is not None:
        first = {b'"': "string", b"t": "boolean", b"f": "boolean", b"n": "null", b"[": "array", b"{": "object"}
        return [first.get(value[:1], "number" if b"." in value else "integer") for value in values]
    return ["object"] if "properties" in schema else _ANYTHING


def _as_narrow(name: str, own: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    value, narrowest = wanted[name], own.get(name)
    if value in (narrowest, _IDLE.get(name, narrowest)):
        return True
    if name == "pattern":  # generators write one beside a format
        return "format" in wanted and wanted["format"] == own.get("format")
    if isinstance(narrowest, int | float) and isinstance(value, int | float) and name in _LEAST | _MOST:
        return narrowest >= value if name in _LEAST else narrowest <= value
    return False


def _items_misfit(own: _Side, wanted: _Side, where: str, above: _Above) -> Misfit | None:
    first, allowed = list_of(own.schema.get("prefixItems")), list_of(wanted.schema.get("prefixItems"))
    if len(first) != len(allowed):
        return where, "an answer has other places"
    for place, (item, other) in enumerate(zip(first, allowed, strict=True)):
        if found := _misfit(own.inner(item), wanted.inner(other), f"{where}.prefixItems[{place}]", above):
            return found
    items = wanted.schema.get("items", {})
    return (
        None
        if items is False and first
        else _misfit(own.inner(own.schema.get("items")), wanted.inner(items), f"{where}.items", above)
    )


def _fields_misfit(own: _Side, wanted: _Side, where: str, above: _Above) -> Misfit | None:
    fields, allowed = (object_of(side.schema.get("properties")) for side in (own, wanted))
    extras, others = own.schema.get("additionalProperties", not fields), wanted.schema.get("additionalProperties", True)
    for name in map(str, list_of(wanted.schema.get("required"))):
        if name not in fields:
            return f"{where}.properties.{name}", "an answer has no such field"
    pairs = [(f"{where}.properties.{name}", field, allowed.get(name, others)) for name, field in fields.items()]
    if extras is not False:
        pairs += [
            (f"{where}.properties.{name}", extras, field) for name, field in allowed.items() if name not in fields
        ]
        pairs.append((f"{where}.additionalProperties", extras, others))
    for path, field, other in pairs:
        if found := _misfit(own.inner(field), wanted.inner(other), path, above):
            return path if other is False else found[0], "an answer may have this field" if other is False else found[1]
    return None
