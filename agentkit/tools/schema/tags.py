"""Tags for the classes of a union that JSON does not tell apart, so that a typed answer is of the class that is meant.

`Approve | Reject`, where both have a `reason`, would always be the first. Here each of them takes one more key,
`{"type": "Reject", "reason": …}`, which the JSON schema shows, the validator requires, and the value does not have.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple, TypeAlias, cast

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from agentkit.core.errors import ConfigurationError
from agentkit.tools.schema.core_schemas import UNTOUCHED, plain_value

_Node: TypeAlias = dict[str, Any]
_FUNCTIONS = ("function-before", "function-after", "function-wrap")
_RECORDS = ("model", "dataclass", "typed-dict", "named-tuple")
_ARRAYS = ("list", "set", "frozenset", "generator", "tuple")
_KINDS = {
    "str": "string",
    "int": "number",
    "float": "number",
    "bool": "boolean",
    "none": "null",
    "dict": "object",
    **dict.fromkeys(_ARRAYS, "array"),
    **dict.fromkeys(_RECORDS, "object"),
}


class _Field(NamedTuple):
    required: bool
    schema: _Node


class _Record(NamedTuple):
    """A class as JSON sees it: its fields by the names that the model writes."""

    node: _Node
    fields: Mapping[str, _Field]
    takes_more: bool  # whether other keys are kept

    def requires_beside(self, other: "_Record") -> bool:
        """Whether a required field is unknown to the other class."""
        return any(field.required and name not in other.fields for name, field in self.fields.items())


class _Tag(NamedTuple):
    """A key that an object of a class must have: its name is the value there, unless the key is one of its fields."""

    name: str
    key: str
    is_field: bool = False


def tagged(schema: CoreSchema) -> CoreSchema:
    """Return a core schema in which the classes of a union are told apart.

    Raises:
        ConfigurationError: Two classes of a union are the same in JSON and cannot take a tag.
    """
    whole = cast("_Node", schema)
    tags = _Rivals(whole).tags()
    return cast("CoreSchema", _with_tags(whole, tags)) if tags else schema


class _Rivals:
    """Finds the classes that JSON does not tell apart from another one in the same union."""

    def __init__(self, schema: _Node) -> None:
        self._schema = schema
        self._shared = {node["ref"]: node for node in _nodes(schema) if "ref" in node}
        self._rivals: dict[type, _Record] = {}
        self._keys: dict[type, str] = {}
        self._compared: set[tuple[int, int]] = set()  # a type alias may be in itself

    def tags(self) -> dict[object, _Tag]:
        """Return the tags of classes, and of the references to them."""
        for node in _nodes(self._schema):
            if node["type"] == "union":
                for one, other in combinations(self._choices(node), 2):
                    self._compare(one, other)
        names = [cls.__name__ for cls in self._rivals]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise _indistinct(f"two classes are called {twice} and")
        key = "type"
        while any(key in record.fields for record in self._rivals.values()):
            key += "_"
        tags: dict[object, _Tag] = {cls: _Tag(cls.__name__, name, is_field=True) for cls, name in self._keys.items()}
        tags |= {cls: _Tag(cls.__name__, key) for cls in self._rivals}
        return tags | {ref: tags[cls] for ref, node in self._shared.items() if (cls := _class_of(node)) in tags}

    def _compare(self, one: _Node, other: _Node) -> None:
        if one is other or (id(one), id(other)) in self._compared:
            return
        self._compared.add((id(one), id(other)))
        kinds = {one["type"], other["type"]}
        if kinds <= {*_ARRAYS}:
            self._compare_items(one["items_schema"], other["items_schema"])
        elif kinds == {"dict"}:
            self._compare_items(one["values_schema"], other["values_schema"])
        elif kinds == {"enum"} and self._could_be_both(one, other):
            raise _indistinct(f"{one['cls'].__name__} and {other['cls'].__name__} share a value and")
        elif kinds <= {*_RECORDS} and (one.get("root_model") or other.get("root_model")):
            self._compare_roots(one, other)
        elif kinds <= {*_RECORDS} and one["cls"] is not other["cls"]:
            self._compare_records(self._record(one), self._record(other))

    def _compare_items(self, one: _Node | list[_Node], other: _Node | list[_Node]) -> None:
        # A list has one schema of its items, and a tuple a list of them.
        firsts, seconds = (items if isinstance(items, list) else [items] for items in (one, other))
        for first, second in product(firsts, seconds):
            for pair in product(self._choices(first), self._choices(second)):
                self._compare(*pair)

    def _compare_roots(self, one: _Node, other: _Node) -> None:
        """Compare root models, which are what is in them."""
        inner = [self._choices(node["schema"] if node.get("root_model") else node) for node in (one, other)]
        for first, second in product(*inner):
            if {first["type"], second["type"]} <= {*_RECORDS} and first["cls"] is not second["cls"]:
                self._compare(first, second)
            elif self._could_be_both(first, second):
                raise _indistinct(f"{one['cls'].__name__} and {other['cls'].__name__} may be the same value and")

    def _compare_records(self, one: _Record, other: _Record) -> None:
        if self._told_apart(one, other):
            return
        classes = {record.node["cls"]: record for record in (one, other)}
        if one.node["type"] == other.node["type"] == "typed-dict":
            raise _indistinct(f"{' and '.join(cls.__name__ for cls in classes)} are both plain dicts and")
        self._rivals |= classes

    def _told_apart(self, one: _Record, other: _Record) -> bool:
        shared = one.fields.keys() & other.fields.keys()
        for name in shared:
            first, second = one.fields[name], other.fields[name]
            if self._could_be_both(first.schema, second.schema):
                continue
            if first.required or second.required:
                return True
            if self._values(first.schema) and self._values(second.schema):
                # `kind: Literal["a"] = "a"`: it tells the classes apart if it is there.
                self._keys |= {one.node["cls"]: name, other.node["cls"]: name}
                return True
        required = one.requires_beside(other), other.requires_beside(one)
        if any(required) and not all(required):
            # pydantic takes the class with more fields, and counts those of classes inside too.
            smaller = other if required[0] else one
            inside = (node for name in shared for node in _nodes([one.fields[name].schema, other.fields[name].schema]))
            return not (smaller.takes_more or any(node["type"] in (*_RECORDS, "definition-ref") for node in inside))
        return all(required)

    def _record(self, node: _Node) -> _Record:
        holder = node if "fields" in node and node["type"] != "dataclass" else self._peeled(node["schema"])
        fields: dict[str, _Field] = {}
        listed: dict[str, _Node] | list[_Node] = holder["fields"]
        by_name = listed if isinstance(listed, dict) else {field["name"]: field for field in listed}
        for name, field in by_name.items():
            if field.get("init", True):
                required: bool = field.get("required", not _has_default(field["schema"]))
                fields[_written_name(field.get("validation_alias", name))] = _Field(required, field["schema"])
        chosen = node.get("config", {}).get("extra_fields_behavior", holder.get("extra_behavior"))
        return _Record(node, fields, chosen == "allow")

    def _could_be_both(self, one: _Node, other: _Node) -> bool:
        values = self._values(one), self._values(other)
        if values[0] and values[1]:
            return bool(values[0] & values[1])
        kinds = [{self._kind(choice) for choice in self._choices(node)} for node in (one, other)]
        return "" in kinds[0] | kinds[1] or bool(kinds[0] & kinds[1])

    def _values(self, node: _Node) -> set[object]:
        """Return the only values of a `Literal` or an enum."""
        choices = self._choices(node)
        options: list[list[object]] = [choice.get("expected") or choice.get("members") or [] for choice in choices]
        return {repr(plain_value(option)) for several in options for option in several} if all(options) else set()

    def _kind(self, node: _Node) -> str:
        """Return the JSON type of a schema that is no union; `""` if it is not known."""
        return "" if node.get("root_model") else _KINDS.get(node["type"], "")

    def _choices(self, node: _Node) -> list[_Node]:
        """Return the schemas in a union, also in a nested one, or the schema itself."""
        node = self._peeled(node)
        match node["type"]:
            case "union":
                choices: list[_Node | tuple[_Node, str]] = node["choices"]
                plain = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
                return [inner for choice in plain for inner in self._choices(choice)]
            case "nullable":
                return [{"type": "none"}, *self._choices(node["schema"])]
            case _:
                return [node]

    def _peeled(self, node: _Node) -> _Node:
        while True:
            if node["type"] in (*_FUNCTIONS, "default"):
                node = node["schema"]
            elif node["type"] == "definition-ref":
                node = self._shared[node["schema_ref"]]
            else:
                return node


def _indistinct(subject: str) -> ConfigurationError:
    return ConfigurationError(
        f"{subject} an answer could not say which of the two it is; give each class a field of its own value, such as "
        'kind: Literal["approve"]'
    )


def _has_default(node: _Node) -> bool:
    while node["type"] in _FUNCTIONS:
        node = node["schema"]
    return bool(node["type"] == "default")


def _written_name(alias: Any) -> str:
    """Return the name in the JSON schema: of several aliases, the first."""
    return alias if isinstance(alias, str) else _written_name(alias[0])


def _nodes(schema: object) -> Iterator[_Node]:
    """Iterate over all schemas inside a core schema."""
    if isinstance(schema, list | tuple):
        for item in cast("list[object]", schema):
            yield from _nodes(item)
    elif isinstance(schema, dict):
        fields = cast("_Node", schema)
        is_node = isinstance(fields.get("type"), str)
        if is_node:
            yield fields
        for key, value in fields.items():
            if not (is_node and key in UNTOUCHED):
                yield from _nodes(value)


def _with_tags(schema: Any, tags: Mapping[object, _Tag], *, inside: bool = False) -> Any:
    """Copy a core schema, with a check of the tag around each class that has one; `inside` is within that check."""
    if isinstance(schema, list):
        return [_with_tags(item, tags) for item in cast("list[object]", schema)]
    if isinstance(schema, tuple):  # a branch of a union with its name
        return tuple([_with_tags(item, tags) for item in cast("tuple[object, ...]", schema)])
    if not isinstance(schema, dict):
        return schema
    node = cast("_Node", schema)
    if not isinstance(node.get("type"), str):
        return {name: _with_tags(inner, tags) for name, inner in node.items()}
    if not inside and (tag := tags.get(_class_of(node))):
        inner = _with_tags({key: value for key, value in node.items() if key != "ref"}, tags, inside=True)
        metadata = {"pydantic_js_functions": [partial(_show, tag)]}
        return core_schema.no_info_before_validator_function(
            partial(_check, tag), inner, ref=node.get("ref"), metadata=metadata
        )
    if node["type"] == "union":
        node = {**node, "choices": [_labelled(choice, tags) for choice in node["choices"]]}
    inside = inside and node["type"] in _FUNCTIONS
    return {
        key: value if key in UNTOUCHED else _with_tags(value, tags, inside=inside and key == "schema")
        for key, value in node.items()
    }


def _labelled(choice: Any, tags: Mapping[object, _Tag]) -> object:
    """Name a choice by its class, for the locations of errors."""
    if isinstance(choice, tuple):
        return cast("object", choice)
    tag = tags.get(choice.get("schema_ref", _class_of(choice)))
    return (choice, tag.name) if tag else choice


def _class_of(node: _Node) -> type | None:
    while node["type"] in _FUNCTIONS:
        node = node["schema"]
    return node["cls"] if node["type"] in _RECORDS else None


def _check(tag: _Tag, value: object) -> object:
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, object]", value)
    if tag.is_field and tag.key in fields:
        return fields
    if tag.is_field or fields.get(tag.key) != tag.name:
        text = "Field '{key}' is required here" if tag.is_field else "Field '{key}' should be '{name}'"
        raise PydanticCustomError("tag", text, {"key": tag.key, "name": tag.name})
    return {key: inner for key, inner in fields.items() if key != tag.key}


def _show(tag: _Tag, core: CoreSchema, handler: Any) -> _Node:
    schema: _Node = handler.resolve_ref_schema(handler(core))
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not tag.is_field:
        properties = {tag.key: {"const": tag.name, "type": "string"}, **properties}
    schema |= {"properties": properties, "required": [tag.key, *(name for name in required if name != tag.key)]}
    return schema
