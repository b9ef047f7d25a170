"""Tool schemas that list the only values that a parameter may have, as an `enum`.

A model whose output is constrained by the schema cannot write any other value. agentkit also checks each call, so what
a schema cannot express is left as it is.
"""

from collections.abc import Mapping, Sequence
from types import NoneType

from agentkit.core.json import decode, encode, list_of, object_of

# OpenAI limits the length of longer enums: https://platform.openai.com/docs/guides/structured-outputs
_MOST_VALUES = 250
_TYPES: Mapping[object, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": NoneType,
    "array": list,
    "object": dict,
}


def limit_values(schema: Mapping[str, object], parameter: str, allowed: Sequence[object]) -> Mapping[str, object]:
    """Return a tool's schema in which a parameter has only certain values; of an array, each item has.

    References are inlined, and branches of a union that no value fits are dropped; null stays. The schema is returned
    as it is if there are over 250 values, if one has no JSON form, or if none fits.
    """
    properties = object_of(schema.get("properties"))
    try:
        values = [decode(encode(value)) for value in allowed] if len(allowed) <= _MOST_VALUES else []
    except ValueError:
        return schema
    limited = _limited(object_of(properties.get(parameter)), values, schema, frozenset()) if values else None
    if limited is None or parameter not in properties:
        return schema
    return {**schema, "properties": {**properties, parameter: limited}}


def _limited(
    schema: dict[str, object], values: list[object], whole: Mapping[str, object], above: frozenset[str]
) -> dict[str, object] | None:
    """Return a schema with an `enum` of values, or `None` if none fits; `above` are the references it is inside of."""
    while isinstance(reference := schema.get("$ref"), str):
        if reference in above:
            return None
        above |= {reference}
        target = _definition(whole, reference)
        schema = {**target, **{keyword: value for keyword, value in schema.items() if keyword != "$ref"}}
    for keyword in ("anyOf", "oneOf", "allOf"):
        if branches := list_of(schema.get(keyword)):
            limited = [_limited(object_of(branch), values, whole, above) for branch in branches]
            fitting = [branch for branch in limited if branch is not None]
            useful = [branch for branch in fitting if branch.get("type") != "null"]
            return {**schema, keyword: fitting} if useful else None
    kind = schema.get("type")
    if kind == "array":
        items = _limited(object_of(schema.get("items")), values, whole, above)
        return None if items is None else {**schema, "items": items}
    if kind == "null":
        return schema
    enum = [value for value in values if _fits(value, schema)]
    return {**schema, "enum": enum + [None] * ("null" in list_of(kind))} if enum else None


def _definition(whole: Mapping[str, object], reference: str) -> dict[str, object]:
    """Return what a reference such as `#/$defs/City` stands for; an empty schema if there is no such thing."""
    target: object = whole
    for part in reference.removeprefix("#").split("/")[1:]:
        target = object_of(target).get(part)
    return object_of(target)


def _fits(value: object, schema: Mapping[str, object]) -> bool:
    kind = schema.get("type")
    for type_ in list_of(kind) or [kind]:
        expected = _TYPES.get(type_, object)
        if isinstance(value, expected) and (not isinstance(value, bool) or type_ in (None, "boolean")):
            break
    else:
        return False
    known = list_of(schema.get("enum")) or ([schema["const"]] if "const" in schema else None)
    return known is None or value in known
