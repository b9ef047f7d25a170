"""Plain schemas: the part of JSON Schema that endpoints with a schema language of their own accept.

Such an endpoint answers 400 to keywords that it does not know, and to most unions. What it cannot express is widened,
and stated in the description instead. So a plain schema accepts whatever the full one does; agentkit still validates
arguments against the full one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from agentkit.core.byte_cache import ByteCache
from agentkit.core.json import decode, encode, list_of, object_of

Schema: TypeAlias = dict[str, Any]

_SCALARS = ("string", "integer", "number", "boolean")
_KEPT = {
    "string": ("minLength", "maxLength", "pattern"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "array": ("minItems", "maxItems"),
}
_DESCRIBED = {
    "format": "Format",
    "exclusiveMinimum": "Greater than",
    "exclusiveMaximum": "Less than",
    "multipleOf": "A multiple of",
}
_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number"}
_IMPLIED = {"properties": "object", "items": "array", "prefixItems": "array"}
_UNIONS = ("anyOf", "oneOf")
_OUTER = ("description", "default", *_UNIONS)
_ANYTHING: Schema = {"type": "string"}
_MOST_PARTS = 2_000
_PER_PART = 100
_DEEPEST = 40
_LONGEST_NOTE = 1_000
_MOST_CACHED = 16_000_000


class _Whole:
    """The schema that is made plain: its definitions, and how much of it there is so far."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        self.definitions: Schema = {
            f"#/{place}/{name}": object_of(definition)
            for place in ("$defs", "definitions")
            for name, definition in object_of(schema.get(place)).items()
        }
        self.definitions["#"] = dict(schema)
        self.parts = self.depth = 0
        self._sizes: dict[str, int] = {}

    def definition(self, reference: str) -> Schema:
        """Return what a reference names, which counts as more parts the longer it is."""
        target = object_of(self.definitions.get(reference))
        if reference not in self._sizes:
            self._sizes[reference] = len(encode(target)) // _PER_PART
        self.parts += self._sizes[reference]
        return target


def _plain_tool(encoded: bytes) -> bytes:
    tool = cast("dict[str, dict[str, object]]", decode(encoded))
    function = tool["function"]
    function.pop("strict", None)
    parameters = plain_schema(object_of(function.pop("parameters")))
    if "properties" in parameters:  # an object without any is refused; without parameters, the tool is accepted
        function["parameters"] = parameters
    return encode(tool)


plain_tool = ByteCache(_plain_tool, _MOST_CACHED)
"""Returns the plain form of an encoded tool; `strict` is dropped."""


def plain_schema(schema: Mapping[str, object]) -> Schema:
    """Return the plain form of the schema of a tool's arguments.

    Every part of it has exactly one `type`. Besides that it may have `description`, `nullable`, `properties`,
    `required`, `items`, bounds, and `enum` for strings. References are inlined; a recursive one becomes an object of
    any kind, and so does what lies deeper than 40 parts or beyond the 2,000th: references that each name two others
    would become millions. A union becomes one type that accepts all its branches:

    - with null: the other branch, and `nullable`;
    - enums of strings: one enum; numbers: a number; a type or a list of it: the list;
    - objects: one object with all their properties, of which those are required that all branches require;
    - anything else, and what may be of any type: a string, with the branches in the description.

    A string that does not fit the full schema is parsed as JSON when the call arrives: `"[1,2]"` becomes a list. In a
    union with a string branch, what arrives stays a string.
    """
    plain = _plain(dict(schema), _Whole(schema), frozenset({"#"}))
    return plain if plain["type"] == "object" else {"type": "object"}


def _plain(schema: Schema, whole: _Whole, above: frozenset[str]) -> Schema:
    """Return the plain form of any schema; `above` are the references that it is inside of."""
    whole.parts += 1
    if whole.parts > _MOST_PARTS or whole.depth > _DEEPEST:
        kind = "object" if "properties" in schema else schema.get("type")
        return {"type": kind} if kind in (*_SCALARS, "object") else dict(_ANYTHING)
    whole.depth += 1
    plain = _plain_part(schema, whole, above)
    whole.depth -= 1
    return plain


def _plain_part(schema: Schema, whole: _Whole, above: frozenset[str]) -> Schema:
    schema, above = _resolve(schema, whole, above)
    if branches := _branches(schema):
        others = [branch for branch in branches if branch.get("type") != "null" and branch.get("const", 0) is not None]
        plain = _union([_plain(branch, whole, above) for branch in others])
        if len(others) < len(branches):
            plain["nullable"] = True
    else:
        plain = _typed(schema, whole, above)
    notes = [plain.pop("description", "")]
    if schema.get("default") is not None:
        notes.append(f"Default: {_json(schema['default'])}.")
    if description := _sentences(schema.get("description"), *notes):
        plain["description"] = description
    return plain


def _resolve(schema: Schema, whole: _Whole, above: frozenset[str]) -> tuple[Schema, frozenset[str]]:
    """Inline `$ref` and merge `allOf`. Keywords beside them take precedence."""
    while "$ref" in schema:
        reference = str(schema["$ref"])
        target = whole.definition(reference)
        beside = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
        if reference in above or len(above) > _DEEPEST:
            return {"type": target.get("type", "object"), "description": beside.get("description")}, above
        schema, above = {**target, **beside}, above | {reference}
    parts = list_of(schema.get("allOf"))
    schema = {keyword: value for keyword, value in schema.items() if keyword != "allOf"}
    whole.parts += len(parts)
    for part in parts if len(above) < _DEEPEST and whole.parts < _MOST_PARTS else ():
        resolved, above = _resolve(object_of(part), whole, above)
        properties = {**object_of(resolved.get("properties")), **object_of(schema.get("properties"))}
        required = [*list_of(schema.get("required")), *list_of(resolved.get("required"))]
        schema = {**resolved, **schema}
        if properties:
            schema |= {"properties": properties, "required": required}
    return schema, above


def _branches(schema: Schema) -> list[Schema]:
    """Return the branches of a union; none if other keywords already say what all branches have in common."""
    kinds = schema.get("type")
    if several := list_of(kinds):
        rest = {keyword: value for keyword, value in schema.items() if keyword not in _OUTER}
        return [{**rest, "type": kind} for kind in several]
    if kinds not in (None, "object") or "properties" in schema:
        return []
    beside = {"type": kinds} if kinds else {}
    return [{**beside, **object_of(branch)} for keyword in _UNIONS for branch in list_of(schema.get(keyword))]


def _typed(schema: Schema, whole: _Whole, above: frozenset[str]) -> Schema:
    if "enum" in schema or "const" in schema:
        return _enum(list_of(schema.get("enum")) or [schema.get("const")])
    kind = schema.get("type") or next((implied for keyword, implied in _IMPLIED.items() if keyword in schema), "")
    if kind == "null":
        return {**_ANYTHING, "nullable": True}
    if kind == "array":
        plain, notes = _array(schema, whole, above)
    elif kind == "object":
        plain, notes = _object(schema, whole, above)
    elif kind in _SCALARS:
        plain, notes = _scalar(kind, schema)
    else:
        plain, notes = dict(_ANYTHING), []
    plain |= {keyword: schema[keyword] for keyword in _KEPT.get(str(kind), ()) if keyword in schema} | plain
    return {**plain, "description": _sentences(*notes)}


def _scalar(kind: str, schema: Schema) -> tuple[Schema, list[str]]:
    plain: Schema = {"type": kind}
    notes: list[str] = []
    for keyword, words in _DESCRIBED.items():
        value = schema.get(keyword)
        bound, step, closest = ("minimum", 1, max) if keyword == "exclusiveMinimum" else ("maximum", -1, min)
        if value == "date-time":
            plain["format"] = value
        elif keyword.startswith("exclusive") and kind == "integer" and type(value) is int:
            plain[bound] = closest(value + step, schema.get(bound, value + step))
        elif value is not None and not isinstance(value, bool):
            notes.append(f"{words} {value}.")
    return plain, notes


def _array(schema: Schema, whole: _Whole, above: frozenset[str]) -> tuple[Schema, list[str]]:
    items = schema.get("items")
    members = [*list_of(schema.get("prefixItems")), *(list_of(items) or [items] if items else [])]
    plain = [_plain(object_of(member), whole, above) for member in members]
    ordered = len(plain) > 1 or "prefixItems" in schema
    notes = [f"In this order: {_names(plain)}."] if ordered else []
    return {"type": "array", "items": _union(plain)}, notes


def _object(schema: Schema, whole: _Whole, above: frozenset[str]) -> tuple[Schema, list[str]]:
    properties = {
        name: _plain(object_of(property_), whole, above)
        for name, property_ in object_of(schema.get("properties")).items()
    }
    required = [name for name in properties if name in list_of(schema.get("required"))]
    values = object_of(schema.get("additionalProperties"))
    notes = [f"The value of any other key: {_names([_plain(values, whole, above)])}."] if values else []
    return _object_of(properties, required), notes


def _object_of(properties: Schema, required: list[str]) -> Schema:
    plain: Schema = {"type": "object"}
    plain |= {"properties": properties} if properties else {}
    return plain | ({"required": required} if required else {})


def _enum(values: Sequence[object]) -> Schema:
    """Return an enum; only strings, and none that is empty, can be listed in one."""
    some = [value for value in values if value is not None]
    nullable = {"nullable": True} if None in values else {}
    if not some:
        return {**_ANYTHING, **nullable}
    if all(isinstance(value, str) and value for value in some):
        return {"type": "string", "enum": some, **nullable}
    kind = _common_type({_TYPES.get(type(value), "string") for value in some}) or "string"
    return {"type": kind, **nullable, "description": f"One of: {', '.join([_json(value) for value in some])}."}


def _common_type(kinds: set[str]) -> str | None:
    """Return the one type that accepts values of all these types, if there is one."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return "number" if kinds == {"integer", "number"} else None


def _union(branches: list[Schema]) -> Schema:
    """Return one plain schema that accepts whatever one of several does."""
    bare = [{keyword: value for keyword, value in branch.items() if keyword != "nullable"} for branch in branches]
    nullable = {"nullable": True} if any("nullable" in branch for branch in branches) else {}
    distinct = list({encode(branch): branch for branch in bare}.values()) or [dict(_ANYTHING)]
    return {**(distinct[0] if len(distinct) == 1 else _widened(distinct)), **nullable}


def _widened(branches: list[Schema]) -> Schema:
    kinds = {branch["type"] for branch in branches}
    kind = _common_type(kinds)
    if all("enum" in branch for branch in branches):
        values = [value for branch in branches for value in branch["enum"]]
        return {"type": "string", "enum": list(dict.fromkeys(values))}
    if kind == "object":
        return _merged_objects(branches)
    if kind == "array":
        return {"type": kind, "items": _union([branch["items"] for branch in branches])}
    if kind:
        return {"type": kind, "description": f"Any of: {_names(branches)}."}
    for one, many in (branches, branches[::-1]) if len(branches) == 2 else ():  # noqa: PLR2004 (one, or a list of it)
        if many["type"] == "array" and many["items"] == one:
            return many
    how = "Any of" if "string" in kinds else "Written as JSON, any of"
    return {"type": "string", "description": f"{how}: {_names(branches)}."}


def _merged_objects(branches: list[Schema]) -> Schema:
    properties = [object_of(branch.get("properties")) for branch in branches]
    together: dict[str, list[Schema]] = {}
    for some in properties:
        for name, property_ in some.items():
            together.setdefault(name, []).append(cast("Schema", property_))
    merged: Schema = {name: _union(several) for name, several in together.items()}
    everywhere = {*list_of(branches[0].get("required"))}
    for branch in branches[1:]:
        everywhere &= {*list_of(branch.get("required"))}
    required = [name for name in merged if name in everywhere]
    either = " or ".join([f"{{{', '.join(some)}}}" for some in properties])
    return {**_object_of(merged, required), "description": f"Either {_cut(either)}."}


def _names(branches: list[Schema]) -> str:
    """Name plain schemas in a sentence."""
    names: list[str] = []
    for plain in branches:
        bare = [keyword for keyword in plain if keyword != "description"]
        names.append(str(plain["type"]) if bare == ["type"] and not plain.get("description") else _json(plain))
    return _cut(", ".join(names))


def _cut(text: str) -> str:
    """Cut what describes a union: one inside another would be quoted, and its quotes quoted again."""
    return text if len(text) <= _LONGEST_NOTE else f"{text[:_LONGEST_NOTE]}…"


def _json(value: object) -> str:
    return encode(value).decode()


def _sentences(*texts: object) -> str:
    """Join texts, each closed by a full stop if another follows."""
    sentences = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
    closed = [f"{text}." if text[-1].isalnum() else text for text in sentences[:-1]]
    return " ".join([*closed, *sentences[-1:]])
