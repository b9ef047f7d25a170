"""Tool schemas that list the only values that a parameter may have, as an `enum`.

A model whose output is constrained by the schema cannot write any other value. agentkit also checks each call, so what
a schema cannot express is left as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType

from agentkit.core.json import decode, encode, list_of, object_of

# OpenAI limits the length of longer enums: https://platform.openai.com/docs/guides/structured-outputs
_MOST_VALUES = 250
_UNIONS = ("anyOf", "oneOf", "allOf")
_MOST_PARTS = 1_000
_DEEPEST = 40
_TYPES: Mapping[object, type | tuple[type, ...]] = {
    "nothing": (),  # no type of JSON's: what a reference inside of itself stands for
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": NoneType,
    "array": list,
    "object": dict,
}


class _TooLarge(Exception):
    """References lead too far, or to too many parts: each of a few may name the next one twice."""


class _Whole:
    """A tool's whole schema, and how many of its parts were looked at."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        self.schema = schema
        self.parts = 0


def limit_values(schema: Mapping[str, object], parameter: str, allowed: Sequence[object]) -> Mapping[str, object]:
    """Return a tool's schema in which a parameter has only certain values; of an array, each item has.

    The values of `optional_values` stay. References are inlined, and branches of a union that no value fits are
    dropped. The schema is returned as it is if there are over 250 values, if one has no JSON form, if none fits, or if
    its references lead to more than 1,000 parts.
    """
    properties = object_of(schema.get("properties"))
    try:
        values = [decode(encode(value)) for value in allowed] if len(allowed) <= _MOST_VALUES else []
    except ValueError:
        return schema
    own = object_of(properties.get(parameter))
    try:
        if parameter not in properties or _limited(own, values, (), _Whole(schema), frozenset()) is None:
            return schema
        limited = _limited(own, values, optional_values(schema, parameter), _Whole(schema), frozenset())
    except _TooLarge:
        return schema
    return {**schema, "properties": {**properties, parameter: limited}}


def optional_values(schema: Mapping[str, object], parameter: str) -> tuple[object, ...]:
    """Return the values by which a call may leave a parameter open.

    These are null, if the parameter's schema names it, and the default of a parameter that is not required. A strict
    schema requires every parameter, so there a model can leave one out only by null.
    """
    own = object_of(object_of(schema.get("properties")).get(parameter))
    try:
        null = (None,) if any(map(_names_null, _branches(own, _Whole(schema), frozenset()))) else ()
    except _TooLarge:
        null = ()
    optional = "default" in own and parameter not in list_of(schema.get("required"))
    return (*null, own["default"]) if optional and not (null and own["default"] is None) else null


def _names_null(schema: Mapping[str, object]) -> bool:
    named = [schema.get("type"), *list_of(schema.get("type"))]
    return "null" in named or None in [*list_of(schema.get("enum")), schema.get("const", "")]


def _branches(schema: dict[str, object], whole: _Whole, above: frozenset[str]) -> Iterator[dict[str, object]]:
    """Yield the schemas that a union is made of; the schema itself if it is none."""
    schema, above = _resolved(schema, whole, above)
    inner = [branch for keyword in _UNIONS for branch in list_of(schema.get(keyword))]
    for branch in inner:
        yield from _branches(object_of(branch), whole, above)
    if not inner:
        yield schema


def _limited(
    schema: dict[str, object],
    values: list[object],
    optional: Sequence[object],
    whole: _Whole,
    above: frozenset[str],
) -> dict[str, object] | None:
    """Return a schema with an `enum` of values, or `None` if none fits; `above` are the references it is inside of."""
    schema, above = _resolved(schema, whole, above)
    for keyword in _UNIONS:
        if branches := list_of(schema.get(keyword)):
            limited = [_limited(object_of(branch), values, optional, whole, above) for branch in branches]
            fitting = [branch for branch in limited if branch is not None]
            return {**schema, keyword: fitting} if fitting else None
    if schema.get("type") == "array":
        items = _limited(object_of(schema.get("items")), values, (), whole, above)
        return None if items is None else {**schema, "items": items}
    enum = {encode(value): value for value in (*values, *optional) if _fits(value, schema)}
    if schema.get("type") == "null" and enum:
        return schema
    return {**schema, "enum": list(enum.values())} if enum else None


def _resolved(
    schema: dict[str, object], whole: _Whole, above: frozenset[str]
) -> tuple[dict[str, object], frozenset[str]]:
    """Return a schema without `$ref`, and the references it is inside of; one inside of itself allows nothing."""
    whole.parts += 1
    if whole.parts > _MOST_PARTS:
        raise _TooLarge
    while isinstance(reference := schema.get("$ref"), str):
        if reference in above:
            return {"type": "nothing"}, above
        if len(above) > _DEEPEST:
            raise _TooLarge
        above |= {reference}
        target = _definition(whole.schema, reference)
        schema = {**target, **{keyword: value for keyword, value in schema.items() if keyword != "$ref"}}
    return schema, above


def _definition(whole: Mapping[str, object], reference: str) -> dict[str, object]:
    """Return what a reference such as `#/$defs/City` stands for; an empty schema if there is no such thing."""
    target: object = whole
    for part in reference.removeprefix("#").split("/")[1:]:
        target = object_of(target).get(part)
    return object_of(target)


def _fits(value: object, schema: Mapping[str, object]) -> bool:
    kind = schema.get("type")
    for type_ in list_of(kind) or [kind]:
        expected = _TYPES.get(type_, object) if isinstance(type_, str) else object
        if isinstance(value, expected) and (not isinstance(value, bool) or type_ in (None, "boolean")):
            break
    else:
        return False
    known = list_of(schema.get("enum")) or ([schema["const"]] if "const" in schema else None)
    return known is None or value in known
