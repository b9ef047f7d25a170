"""What pydantic makes of one annotation: a JSON schema, and the core schema that a validator is built from.

Results are cached for other functions with the same annotation. This file uses `pydantic.TypeAdapter` and imports no
name from pydantic, which loads its larger parts on first access: with the first tool instead of at import.
"""

import inspect
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache, partial
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple, TypeAlias, cast, get_args, get_origin, get_type_hints
from warnings import catch_warnings

import pydantic
from pydantic_core import CoreSchema

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.callables import annotated_function, callable_name, inner_function
from agentkit.tools.schema.core_schemas import adapted
from agentkit.tools.schema.tags import tagged

JsonSchema: TypeAlias = dict[str, object]
_NAMESPACES = ("properties", "$defs", "patternProperties", "dependentSchemas")
_DATA = ("default", "const", "enum", "examples", "required", "discriminator")
# pydantic warns of what is meant here: an alias on a parameter, a default with no JSON form.
_quiet = partial(catch_warnings, record=False, action="ignore", category=UserWarning)


class UnresolvedName(ToolDefinitionError):
    """An annotation names something that is not defined yet. It may be defined when the tool is first used."""


class TypeSchema(NamedTuple):
    """The core schema and the JSON schema of one annotation, each with the definitions that it refers to, by name."""

    core: CoreSchema
    shared: Mapping[str, CoreSchema]
    json: JsonSchema
    definitions: Mapping[str, JsonSchema]


# Written out, so that a program whose tools take only these never loads the larger parts of pydantic.
_SCALARS: dict[type, TypeSchema] = {
    str: TypeSchema({"type": "str"}, {}, {"type": "string"}, {}),
    int: TypeSchema({"type": "int"}, {}, {"type": "integer"}, {}),
    float: TypeSchema({"type": "float", "allow_inf_nan": False}, {}, {"type": "number"}, {}),
    bool: TypeSchema({"type": "bool"}, {}, {"type": "boolean"}, {}),
}


def type_schema(annotation: object, *, tags: bool = False) -> TypeSchema:
    """Return the schemas of an annotation. A type's own hook may raise any exception.

    With `tags`, the classes of a union that JSON does not tell apart take a tag.
    """
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return _SCALARS.get(annotation) or _cached(annotation, "", tags)
    try:
        hash(annotation)
    except TypeError:
        return _type_schema(annotation, "", tags)
    # Equal types may differ in order, as `Literal["b", "a"]` does, and each is sent in its own order.
    return _cached(annotation, repr(annotation), tags)


def is_field(value: object) -> bool:
    """Whether a value was made by `pydantic.Field(…)`. If that is not loaded, there is none."""
    fields: Any = sys.modules.get("pydantic.fields")
    return fields is not None and isinstance(value, fields.FieldInfo)


def distinct_schemas(annotations: Mapping[str, object]) -> tuple[list[JsonSchema], dict[str, JsonSchema]]:
    """Return JSON schemas and their definitions, where two types have one name: pydantic gives these longer names."""
    with _quiet():
        inputs = [(name, "validation", _adapter(annotation)) for name, annotation in annotations.items()]
        schemas, shared = pydantic.TypeAdapter.json_schemas(cast("Any", inputs))
    plain = cast("list[JsonSchema]", [_without_titles(schemas[name, "validation"]) for name in annotations])
    definitions = cast("dict[str, dict[str, JsonSchema]]", _without_titles({"$defs": shared["$defs"]}))
    return plain, definitions["$defs"]


def unwrap_annotation(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Return the type behind `type` aliases and `Annotated`, and what `Annotated` adds; the outermost is the last."""
    extras: tuple[object, ...] = ()
    while True:
        # Python 3.11 has only the `TypeAliasType` of typing_extensions, and later versions have two.
        alias: Any = next((part for part in (annotation, get_origin(annotation)) if _is_alias(part)), None)
        if alias is not None:
            annotation = alias.__value__
        elif hasattr(annotation, "__metadata__"):
            extras = (*cast("Any", annotation).__metadata__, *extras)
            annotation = get_args(annotation)[0]
        else:
            return annotation, extras


def _is_alias(annotation: object) -> bool:
    return type(annotation).__name__ == "TypeAliasType"


def resolve_annotation(function: object, parameter: inspect.Parameter) -> object:
    """Return a parameter's annotation, with names in strings resolved; `Any` if it has none.

    A decorator may publish a signature of its own, with the names of its module or those of what it decorates.
    """
    name, annotation = parameter.name, parameter.annotation
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, type):
        return annotation
    target = annotated_function(function)
    here = _caller_locals()
    scopes = [(target, here if "<locals>" in callable_name(target) else None), (inner_function(function), None)]
    try:
        for scope, names in scopes:
            with suppress(NameError):
                return _read_annotation(scope, name, annotation, names)
        return _read_annotation(target, name, annotation, here)
    except NameError as error:
        raise UnresolvedName(
            f"{callable_name(function)}, parameter {name!r}: {error.name!r} is not defined where the function is; "
            "define it (at the top level of the module, if the function is used elsewhere) before the tool is used"
        ) from error
    except (SyntaxError, AttributeError, TypeError) as error:
        raise ToolDefinitionError(
            f"{callable_name(function)}, parameter {name!r}: {annotation!r} is not a type ({error}); put a description "
            'into the docstring, or beside the type: Annotated[str, "the description"]'
        ) from error


def _read_annotation(scope: object, name: str, annotation: object, names: dict[str, object] | None) -> object:
    attributes = {attribute: getattr(scope, attribute, {}) for attribute in ("__globals__", "__type_params__")}
    target = SimpleNamespace(__annotations__={name: annotation}, **attributes)
    return cast("object", get_type_hints(target, localns=names, include_extras=True)[name])


def _adapter(annotation: object, *, tags: bool = False) -> "pydantic.TypeAdapter[object]":
    adapter = pydantic.TypeAdapter[object](cast("Any", annotation))
    if not adapter.pydantic_complete:
        adapter.rebuild(raise_errors=False, _types_namespace=_caller_locals())
    if not isinstance(
        cast("object", adapter.core_schema), dict
    ):  # a type with `defer_build` is built with its JSON schema
        adapter.json_schema()
    adapter.core_schema = adapted(tagged(adapter.core_schema) if tags else adapter.core_schema)
    return adapter


def _type_schema(annotation: object, _order: str, tags: bool = False) -> TypeSchema:  # noqa: FBT001, FBT002
    with _quiet():
        adapter = _adapter(annotation, tags=tags)
        json: JsonSchema = cast("JsonSchema", _without_titles(adapter.json_schema()))
    definitions = cast("dict[str, JsonSchema]", json.pop("$defs", {}))
    core, shared = adapter.core_schema, dict[str, CoreSchema]()
    if core["type"] == "definitions":
        shared = {definition["ref"]: definition for definition in core["definitions"] if "ref" in definition}
        core = core["schema"]
    if (name := _model_name(core)) and "properties" in json and name not in definitions:
        # pydantic writes out a model that stands alone; two parameters of the same one are to share a definition.
        definitions[name] = json
        json = {"$ref": f"#/$defs/{name}"}
    return TypeSchema(core, shared, json, definitions)


_cached = lru_cache(maxsize=1024)(_type_schema)


def _model_name(core: CoreSchema) -> str | None:
    if core["type"] == "function-wrap":
        core = core["schema"]
    cls = core.get("cls") if core["type"] in ("model", "dataclass", "typed-dict") else None
    return cls.__name__ if isinstance(cls, type) and cls.__name__.isidentifier() else None


def _without_titles(schema: object) -> object:
    """Copy a JSON schema without its titles, which cost tokens and repeat the names."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    copy: JsonSchema = {}
    for keyword, value in cast("JsonSchema", schema).items():
        if keyword in _NAMESPACES and isinstance(value, dict):
            copy[keyword] = {name: _without_titles(inner) for name, inner in cast("JsonSchema", value).items()}
        elif keyword != "title":
            copy[keyword] = value if keyword in _DATA else _without_titles(value)
    return copy


def _caller_locals() -> dict[str, object]:
    """Return the local names where agentkit was called: a string annotation may name a local type."""
    frame: FrameType | None = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame = frame.f_back
    return dict(frame.f_locals) if frame else {}
