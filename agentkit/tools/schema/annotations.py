"""What pydantic makes of one annotation: a JSON schema, and the schema that a validator is built from.

It is kept for the next function that has the same annotation. pydantic is reached by its name here, and not by names
from it, because it loads its larger parts when they are first asked for: with the first tool, not with the import.
"""

import inspect
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import FrameType
from typing import Any, NamedTuple, TypeAlias, cast, get_origin
from warnings import catch_warnings, simplefilter

import pydantic
from pydantic_core import CoreSchema, core_schema

JsonSchema: TypeAlias = dict[str, object]
_NAMESPACES: tuple[str, ...] = ("properties", "$defs", "patternProperties", "dependentSchemas")
_DATA = ("default", "const", "enum", "examples", "required", "discriminator")


class TypeSchema(NamedTuple):
    """What pydantic makes of one annotation.

    Attributes:
        core: The schema that a validator is built from.
        shared: The definitions that `core` refers to, by name.
        json: The JSON schema.
        definitions: The JSON schemas that `json` refers to, by name.
    """

    core: CoreSchema
    shared: Mapping[str, CoreSchema]
    json: JsonSchema
    definitions: Mapping[str, JsonSchema]


# What pydantic makes of these, so that a program whose tools take nothing else never loads the larger parts of it.
_SCALARS: dict[type, TypeSchema] = {
    str: TypeSchema({"type": "str"}, {}, {"type": "string"}, {}),
    int: TypeSchema({"type": "int"}, {}, {"type": "integer"}, {}),
    float: TypeSchema({"type": "float"}, {}, {"type": "number"}, {}),
    bool: TypeSchema({"type": "bool"}, {}, {"type": "boolean"}, {}),
}


def is_field(value: object) -> bool:
    """Tell whether a value is what `pydantic.Field(…)` makes. Where that was not loaded, there is none."""
    fields: Any = sys.modules.get("pydantic.fields")
    return fields is not None and isinstance(value, fields.FieldInfo)


def type_schema(annotation: object) -> TypeSchema:
    """Make the schemas of an annotation.

    Raises:
        Exception: Whatever pydantic raises, or a type's own hook.
    """
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return _SCALARS.get(annotation) or _cached(annotation, "")
    try:
        hash(annotation)
    except TypeError:
        return _fragment(annotation, "")
    # Types that are equal may still be written in another order, as `Literal["b", "a"]`, and mean to be sent so.
    return _cached(annotation, repr(annotation))


def _adapter(annotation: object) -> "pydantic.TypeAdapter[object]":
    adapter = pydantic.TypeAdapter[object](cast("Any", annotation))
    if not adapter.pydantic_complete:
        adapter.rebuild(raise_errors=False, _types_namespace=caller_locals())
    return adapter


def _fragment(annotation: object, _written: str) -> TypeSchema:
    with _quiet():
        adapter = _adapter(annotation)
        json: JsonSchema = cast("JsonSchema", _untitled(adapter.json_schema()))
    definitions = cast("dict[str, JsonSchema]", json.pop("$defs", {}))
    # Read after the JSON schema: a type whose building was put off has been built by now.
    core, shared = adapter.core_schema, dict[str, CoreSchema]()
    if core["type"] == "definitions":
        shared = {each["ref"]: each for each in core["definitions"] if "ref" in each}
        core = core["schema"]
    if core["type"] == "generator":
        # pydantic would check the items of an `Iterable` one by one, inside the function.
        core = core_schema.list_schema(cast("Any", core.get("items_schema")))
    if (name := _model_name(core)) and "properties" in json and name not in definitions:
        # pydantic writes a model in full where it stands alone; two parameters of the same one share a definition.
        definitions[name] = json
        json = {"$ref": f"#/$defs/{name}"}
    return TypeSchema(core, shared, json, definitions)


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Hush what pydantic warns of and is meant here: an alias on a parameter, a default that JSON cannot say."""
    with catch_warnings():
        simplefilter("ignore", UserWarning)
        yield


_cached = lru_cache(maxsize=1024)(_fragment)


def _model_name(core: CoreSchema) -> str | None:
    cls = core.get("cls") if core["type"] in ("model", "dataclass", "typed-dict") else None
    return cls.__name__ if isinstance(cls, type) and cls.__name__.isidentifier() else None


def _untitled(schema: object) -> object:
    """Copy a JSON schema without its titles, which cost tokens and say what the names say."""
    if isinstance(schema, list):
        return [_untitled(each) for each in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    copy: JsonSchema = {}
    for key, value in cast("JsonSchema", schema).items():
        if key in _NAMESPACES and isinstance(value, dict):
            copy[key] = {name: _untitled(each) for name, each in cast("JsonSchema", value).items()}
        elif key in _DATA:
            copy[key] = value
        elif key != "title":
            copy[key] = _untitled(value)
    return copy


def apart(annotations: Mapping[str, object]) -> tuple[list[JsonSchema], dict[str, JsonSchema]]:
    """Make the JSON schemas of types of which two have one name: pydantic tells them apart by longer names.

    Returns:
        The schema of each annotation, and the definitions that they refer to.
    """
    with _quiet():
        inputs = [(name, "validation", _adapter(each)) for name, each in annotations.items()]
        schemas, shared = pydantic.TypeAdapter.json_schemas(cast("Any", inputs))
    plain = cast("list[JsonSchema]", [_untitled(schemas[name, "validation"]) for name in annotations])
    definitions = cast("dict[str, dict[str, JsonSchema]]", _untitled({"$defs": shared["$defs"]}))
    return plain, definitions["$defs"]


def caller_locals() -> dict[str, object]:
    """Give the local names where agentkit was called: under `from __future__ import annotations` a type may be one."""
    frame: FrameType | None = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame = frame.f_back
    return dict(frame.f_locals) if frame else {}
