"""Plain schemas: the part of JSON Schema that endpoints with a schema language of their own take.

Such an endpoint answers 400 to a keyword that it does not know, and to most unions. What it cannot be told is widened,
and said in the description instead: a plain schema accepts whatever the whole one does, and arguments are held against
the whole one here when they come.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, cast

from agentkit.core.json import decode, encode, list_of, object_of

Schema: TypeAlias = dict[str, Any]

_SCALARS = ("string", "integer", "number", "boolean")
_KEPT = {
    "string": ("minLength", "maxLength", "pattern"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "array": ("minItems", "maxItems"),
}
_TOLD = {
    "format": "Format",
    "exclusiveMinimum": "Greater than",
    "exclusiveMaximum": "Less than",
    "multipleOf": "A multiple of",
}
_KINDS: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number"}
_UNIONS = ("anyOf", "oneOf")
_OUTER = ("description", "default", *_UNIONS)
_ANYTHING: Schema = {"type": "string"}


@lru_cache(maxsize=4096)
def plain_tool(encoded: bytes) -> bytes:
    """Make the plain form of a tool, from the bytes of its standard form to those of its own; `strict` is dropped."""
    tool = cast("dict[str, dict[str, object]]", decode(encoded))
    function = tool["function"]
    function.pop("strict", None)
    parameters = plain_schema(object_of(function.pop("parameters")))
    if "properties" in parameters:  # an object without any is refused; no parameters at all is how to say it
        function["parameters"] = parameters
    return encode(tool)


def plain_schema(schema: Mapping[str, object]) -> Schema:
    """Make the plain form of the schema of a tool's arguments.

    It has `type`, one of them, in every place, and beside that `description`, `nullable`, `properties`, `required`,
    `items`, `enum` for texts, and bounds. References are put in where they stand, and one that leads back into itself
    becomes an object of any kind. Unions become one type that takes all that they take:

    - with null, the other branch and `nullable`;
    - texts to choose from, one list of them; numbers, a number; one of a kind or a list of it, the list;
    - objects, one object with the properties of all of them, of which those are required that all require;
    - anything else, a text, as is what may be of any type; the description names the branches.

    What is sent as a text is read as JSON when it does not fit as it is: `"[1,2]"` becomes a list and `"5"` an integer.
    So in a union that has a text among its branches, what comes stays a text.

    Args:
        schema: The schema, of type `object`. It is not changed.

    Returns:
        A new schema, of type `object`.
    """
    definitions: Schema = {
        f"#/{place}/{name}": object_of(each)
        for place in ("$defs", "definitions")
        for name, each in object_of(schema.get(place)).items()
    }
    definitions["#"] = dict(schema)
    plain = _plain(dict(schema), definitions, frozenset({"#"}))
    return plain if plain["type"] == "object" else {"type": "object"}


def _plain(schema: Schema, definitions: Schema, above: frozenset[str]) -> Schema:
    schema, above = _resolved(schema, definitions, above)
    branches = _branches(schema)
    if branches:
        some = [each for each in branches if each.get("type") != "null" and each.get("const", 0) is not None]
        plain = _one_of([_plain(each, definitions, above) for each in some])
        if len(some) < len(branches):
            plain["nullable"] = True
    else:
        plain = _typed(schema, definitions, above)
    told = [plain.pop("description", "")]
    if schema.get("default") is not None:
        told.append(f"Default: {_json(schema['default'])}.")
    if description := _sentences(schema.get("description"), *told):
        plain["description"] = description
    return plain


def _resolved(schema: Schema, definitions: Schema, above: frozenset[str]) -> tuple[Schema, frozenset[str]]:
    """Put in what a schema refers to, and the parts that it is all of; what stands beside them goes before them."""
    while "$ref" in schema:
        reference = str(schema["$ref"])
        target = object_of(definitions.get(reference))
        beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
        if reference in above:
            return {"type": target.get("type", "object"), "description": beside.get("description")}, above
        schema, above = {**target, **beside}, above | {reference}
    parts = list_of(schema.get("allOf"))
    schema = {keyword: value for keyword, value in schema.items() if keyword != "allOf"}
    for each in parts:
        part, above = _resolved(object_of(each), definitions, above)
        properties = {**object_of(part.get("properties")), **object_of(schema.get("properties"))}
        required = [*list_of(schema.get("required")), *list_of(part.get("required"))]
        schema = {**part, **schema}
        if properties:
            schema |= {"properties": properties, "required": required}
    return schema, above


def _branches(schema: Schema) -> list[Schema]:
    """Give the branches of a union; none if it is not one, or says what holds whichever branch does."""
    kinds = schema.get("type")
    if several := list_of(kinds):
        rest = {keyword: value for keyword, value in schema.items() if keyword not in _OUTER}
        return [{**rest, "type": kind} for kind in several]
    if kinds not in (None, "object") or "properties" in schema:
        return []
    beside = {"type": kinds} if kinds else {}
    return [{**beside, **object_of(each)} for keyword in _UNIONS for each in list_of(schema.get(keyword))]


def _typed(schema: Schema, definitions: Schema, above: frozenset[str]) -> Schema:
    if "enum" in schema or "const" in schema:
        return _choice(list_of(schema.get("enum")) or [schema.get("const")])
    kind = schema.get("type") or _implied(schema)
    if kind == "null":
        return {**_ANYTHING, "nullable": True}
    if kind == "array":
        plain, told = _array(schema, definitions, above)
    elif kind == "object":
        plain, told = _object(schema, definitions, above)
    elif kind in _SCALARS:
        plain, told = _scalar(kind, schema)
    else:
        plain, told = dict(_ANYTHING), []
    plain |= {keyword: schema[keyword] for keyword in _KEPT.get(str(kind), ()) if keyword in schema} | plain
    return {**plain, "description": _sentences(*told)}


def _implied(schema: Schema) -> str:
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else ""


def _scalar(kind: str, schema: Schema) -> tuple[Schema, list[str]]:
    plain: Schema = {"type": kind}
    told: list[str] = []
    for keyword, words in _TOLD.items():
        value = schema.get(keyword)
        bound, step, closest = ("minimum", 1, max) if keyword == "exclusiveMinimum" else ("maximum", -1, min)
        if value == "date-time":
            plain["format"] = value
        elif keyword.startswith("exclusive") and kind == "integer" and type(value) is int:
            plain[bound] = closest(value + step, schema.get(bound, value + step))
        elif value is not None and not isinstance(value, bool):
            told.append(f"{words} {value}.")
    return plain, told


def _array(schema: Schema, definitions: Schema, above: frozenset[str]) -> tuple[Schema, list[str]]:
    items = schema.get("items")
    each_of = [*list_of(schema.get("prefixItems")), *(list_of(items) or [items] if items else [])]
    plain = [_plain(object_of(each), definitions, above) for each in each_of]
    ordered = len(plain) > 1 or "prefixItems" in schema
    told = [f"In this order: {', '.join([_words(each) for each in plain])}."] if ordered else []
    return {"type": "array", "items": _one_of(plain) if plain else dict(_ANYTHING)}, told


def _object(schema: Schema, definitions: Schema, above: frozenset[str]) -> tuple[Schema, list[str]]:
    properties = object_of(schema.get("properties"))
    plain: Schema = {"type": "object"}
    if properties:
        plain["properties"] = {name: _plain(object_of(each), definitions, above) for name, each in properties.items()}
        required = [name for name in properties if name in list_of(schema.get("required"))]
        plain |= {"required": required} if required else {}
    values = object_of(schema.get("additionalProperties"))
    told = [f"The value of any other key: {_words(_plain(values, definitions, above))}."] if values else []
    return plain, told


def _choice(values: Sequence[object]) -> Schema:
    """Give a choice from values: only texts, and none that is empty, can be listed."""
    some = [each for each in values if each is not None]
    nullable = {"nullable": True} if None in values else {}
    if not some:
        return {**_ANYTHING, **nullable}
    if all(isinstance(each, str) and each for each in some):
        return {"type": "string", "enum": some, **nullable}
    kind = _common_kind({_KINDS.get(type(each), "string") for each in some}) or "string"
    return {"type": kind, **nullable, "description": f"One of: {', '.join([_json(each) for each in some])}."}


def _common_kind(kinds: set[str]) -> str | None:
    """Give the one type that takes values of all of these, but for a text, which takes anything."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return "number" if kinds == {"integer", "number"} else None


def _one_of(branches: list[Schema]) -> Schema:
    """Give one plain schema that takes whatever one of several takes."""
    if len(branches) <= 1:
        return branches[0] if branches else dict(_ANYTHING)
    bare = [{keyword: value for keyword, value in each.items() if keyword != "nullable"} for each in branches]
    nullable = {"nullable": True} if any("nullable" in each for each in branches) else {}
    distinct = [each for at, each in enumerate(bare) if each not in bare[:at]]
    return {**(distinct[0] if len(distinct) == 1 else _widened(distinct)), **nullable}


def _widened(branches: list[Schema]) -> Schema:
    names = ", ".join([_words(each) for each in branches])
    kinds = {each["type"] for each in branches}
    kind = _common_kind(kinds)
    if all("enum" in each for each in branches):
        return {"type": "string", "enum": list(dict.fromkeys([value for each in branches for value in each["enum"]]))}
    if kind == "object":
        return _common(branches)
    if kind == "array":
        return {"type": kind, "items": _one_of([each["items"] for each in branches])}
    if kind:
        return {"type": kind, "description": f"Any of: {names}."}
    for one, many in (branches, branches[::-1]) if len(branches) == 2 else ():  # noqa: PLR2004 (one, or a list of it)
        if many["type"] == "array" and many["items"] == one:
            return many
    how = "Any of" if "string" in kinds else "Written as JSON, any of"
    return {"type": "string", "description": f"{how}: {names}."}


def _common(objects: list[Schema]) -> Schema:
    names = list(dict.fromkeys([name for each in objects for name in object_of(each.get("properties"))]))
    properties = {
        name: _one_of([each["properties"][name] for each in objects if name in object_of(each.get("properties"))])
        for name in names
    }
    required = [name for name in names if all(name in list_of(each.get("required")) for each in objects)]
    either = " or ".join([f"{{{', '.join(object_of(each.get('properties')))}}}" for each in objects])
    plain: Schema = {"type": "object", "description": f"Either {either}."}
    plain |= {"properties": properties} if properties else {}
    return plain | ({"required": required} if required else {})


def _words(plain: Schema) -> str:
    """Name a plain schema in a sentence."""
    bare = {keyword: value for keyword, value in plain.items() if keyword != "description"}
    return str(bare["type"]) if len(bare) == 1 and not plain.get("description") else _json(plain)


def _json(value: object) -> str:
    return encode(value).decode()


def _sentences(*texts: object) -> str:
    """Put texts one after the other, each closed by a full stop if another follows."""
    said = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    closed = [f"{text}." if text[-1].isalnum() else text for text in said[:-1]]
    return " ".join([*closed, *said[-1:]])
