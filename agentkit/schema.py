"""A function's signature as a JSON schema, and as the validator that holds arguments to it.

Both come from the same pydantic schema of each parameter, so they say the same. What pydantic makes of an annotation is
kept for the next function that has it, and a validator is put together at its first use.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import FrameType, FunctionType, SimpleNamespace
from typing import Annotated, Any, NamedTuple, Required, TypeAlias, cast, get_args, get_origin, get_type_hints
from warnings import catch_warnings, simplefilter

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic.warnings import UnsupportedFieldAttributeWarning
from pydantic_core import CoreSchema, SchemaError, SchemaValidator, core_schema, to_jsonable_python

from agentkit.errors import ToolDefinitionError

JsonSchema: TypeAlias = dict[str, object]
_EMPTY = inspect.Parameter.empty
_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_STAR = inspect.Parameter.VAR_POSITIONAL
_STARS = inspect.Parameter.VAR_KEYWORD
_NAMESPACES: tuple[str, ...] = ("properties", "$defs", "patternProperties", "dependentSchemas")
_DATA = ("default", "const", "enum", "examples")


class UnresolvedName(ToolDefinitionError):
    """An annotation names what is not defined yet; it may be when the tool is first used."""


class Bound(NamedTuple):
    """Validated arguments, ready for the call: `function(*args, **kwargs)`."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Fragment(NamedTuple):
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


class Parameter(NamedTuple):
    """One parameter as the model sees it."""

    name: str
    wire_name: str
    kind: inspect._ParameterKind
    annotation: object
    required: bool
    default: object
    description: str
    fragment: Fragment


class Arguments:
    """What a function takes: the JSON schema of its arguments, and the way from JSON to the call.

    Args:
        schema: The JSON schema, an object with one property for each parameter.
        validator: Makes what holds arguments to it; called at the first use.
        by_position: The parameters that are passed by position.

    Attributes:
        schema: The JSON schema.
    """

    __slots__ = ("_by_position", "_make_validator", "_validator", "schema")

    def __init__(
        self, schema: JsonSchema, validator: Callable[[], SchemaValidator], by_position: tuple[Parameter, ...] = ()
    ) -> None:
        self.schema = schema
        self._make_validator = validator
        self._validator: SchemaValidator | None = None
        self._by_position = by_position

    def validate(self, arguments: str | bytes) -> dict[str, Any]:
        """Validate arguments.

        Args:
            arguments: The text of a JSON object.

        Returns:
            The values by parameter name, as the annotated types. A parameter that was left out is not in it, so the
            function's own default holds.

        Raises:
            pydantic.ValidationError: If the arguments do not fit; its `errors()` say where and why.
        """
        if self._validator is None:
            self._validator = self._make_validator()
        return cast("dict[str, Any]", self._validator.validate_json(arguments))

    def bind(self, values: dict[str, Any]) -> Bound:
        """Turn validated values into positional and keyword arguments."""
        if not self._by_position:
            return Bound((), values)
        values = dict(values)
        args: list[Any] = []
        for each in self._by_position:
            if each.kind is _STAR:
                args.extend(values.pop(each.name, ()))
            elif each.name in values or each.default is not _EMPTY:
                args.append(values.pop(each.name, each.default))
        return Bound(tuple(args), values)


def arguments_of(function: Callable[..., object], described: Mapping[str, str], *, unbound: bool = False) -> Arguments:
    """Read what a function takes from its signature.

    Args:
        function: Any callable that has a signature.
        described: The descriptions of parameters that its docstring gives.
        unbound: Whether the function is a method seen before it is bound, so that its first parameter is not the model's.

    Raises:
        UnresolvedName: If an annotation names what is not defined (yet).
        ToolDefinitionError: If an annotation cannot be said in JSON.
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise ToolDefinitionError(
            f"{name_of(function)} has no signature that Python can read; wrap it in a function with annotated parameters"
        ) from error
    hints = _hints(function)
    given = _given(function)
    parameters: list[Parameter] = []
    for number, each in enumerate(signature.parameters.values()):
        if (unbound and number == 0) or each.name in given:
            continue
        annotation = hints.get(each.name, each.annotation)
        annotation = Any if annotation is _EMPTY else annotation
        parameters += _parameters(function, each, annotation, described)
    star = any(each.kind is _STAR for each in parameters)
    kinds = (_POSITIONAL, _EITHER, _STAR) if star else (_POSITIONAL,)
    return Arguments(
        _object_schema(parameters), partial(_validator, parameters), tuple(each for each in parameters if each.kind in kinds)
    )


def name_of(function: object) -> str:
    """Give a callable's name for an error's text."""
    return getattr(inner(function), "__qualname__", None) or type(function).__qualname__


def inner(function: object) -> object:
    """Give what a callable really runs: through partials and bound methods, and the `__call__` of an object."""
    while isinstance(function, partial):
        function = cast("object", function.func)
    if inspect.ismethod(function) or isinstance(function, staticmethod | classmethod):
        return cast("object", function.__func__)
    if isinstance(function, FunctionType | type) or inspect.isbuiltin(function):
        return function
    call = getattr(type(function), "__call__", None)
    return call if isinstance(call, FunctionType) else function


def _given(function: object) -> set[str]:
    """Name the parameters that a partial has bound by keyword (those bound by position are not in its signature)."""
    given: set[str] = set()
    while isinstance(function, partial):
        given |= function.keywords.keys()
        function = cast("object", function.func)
    return given


def _hints(function: object) -> dict[str, Any]:
    target = inspect.unwrap(cast("Callable[..., object]", inner(function)))
    if isinstance(target, type):
        target = cast("Callable[..., object]", target.__init__)
    annotations = {name: each for name, each in getattr(target, "__annotations__", {}).items() if name != "return"}
    parameters = SimpleNamespace(__annotations__=annotations, __globals__=getattr(target, "__globals__", {}))
    try:
        return get_type_hints(parameters, include_extras=True)
    except NameError:
        try:
            return get_type_hints(parameters, localns=_names_of_caller(), include_extras=True)
        except NameError as error:
            raise UnresolvedName(
                f"{name_of(function)} is annotated with {error.name!r}, which is not defined where it is; define it (at the top "
                "level of the module, if the function is used elsewhere) before the tool is used"
            ) from error


def _names_of_caller() -> dict[str, object]:
    """Give the local names where agentkit was called: under `from __future__ import annotations` a type may be one."""
    frame: FrameType | None = inspect.currentframe()
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame = frame.f_back
    return dict(frame.f_locals) if frame else {}


def _parameters(
    function: object, parameter: inspect.Parameter, annotation: object, described: Mapping[str, str]
) -> list[Parameter]:
    """Read one parameter of a signature; `**options: Unpack[SomeTypedDict]` gives one for each key."""
    unpacked = get_args(annotation)[0] if get_origin(annotation) is typing.Unpack else None
    if parameter.kind is _STARS and unpacked is not None:
        keys = get_type_hints(unpacked, include_extras=True)
        required = cast("frozenset[str]", unpacked.__required_keys__)
        keyword = inspect.Parameter.KEYWORD_ONLY
        return [
            _parameter(function, inspect.Parameter(key, keyword), hint, described)._replace(required=key in required)
            for key, hint in keys.items()
        ]
    if parameter.kind is _STAR:
        annotation = list[annotation]  # type: ignore[valid-type]
    return [_parameter(function, parameter, annotation, described)]


def _parameter(
    function: object, parameter: inspect.Parameter, annotation: object, described: Mapping[str, str]
) -> Parameter:
    default = parameter.default
    if isinstance(default, FieldInfo):
        annotation = Annotated[annotation, default]
        default = _EMPTY
    if get_origin(annotation) in (Required, typing.NotRequired):
        annotation = get_args(annotation)[0]
    description, wire_name = described.get(parameter.name, ""), parameter.name
    for extra in reversed(getattr(annotation, "__metadata__", ())):
        if isinstance(extra, str):
            description = extra
        elif isinstance(extra, FieldInfo):
            description = extra.description or description
            alias = extra.validation_alias or extra.alias
            wire_name = alias if isinstance(alias, str) else wire_name
    try:
        fragment = _fragment_of(annotation)
    except (PydanticUserError, SchemaError, TypeError, NameError) as error:
        raise _unsupported(function, parameter.name, annotation, error) from error
    required = default is _EMPTY and parameter.kind is not _STAR and fragment.core["type"] != "default"
    return Parameter(parameter.name, wire_name, parameter.kind, annotation, required, default, description, fragment)


def _unsupported(function: object, name: str, annotation: object, error: Exception) -> ToolDefinitionError:
    where = f"{name_of(function)}, parameter {name!r}"
    reason = str(error).split("\n", 1)[0].rstrip(".")
    if isinstance(error, NameError) or "is not fully defined" in reason:
        return UnresolvedName(f"{where}: {reason}; define the missing name before the tool is used")
    return ToolDefinitionError(
        f"{where}: {inspect.formatannotation(annotation)} cannot be told to a model as JSON ({reason}). Annotate it with a type "
        "that has a JSON form, such as str, int, list[str], a dataclass or a pydantic model, and make the object inside the "
        "function; or bind it with functools.partial, so that the model does not see it"
    )


class _Quiet(GenerateJsonSchema):
    """JSON schemas without what only a form would show."""

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Say nothing of a default that JSON cannot say: it is left out of the schema and still holds."""


def _fragment_of(annotation: object) -> Fragment:
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return _cached(annotation, "")
    try:
        hash(annotation)
    except TypeError:
        return _fragment(annotation, "")
    # Types that are equal may still be written in another order, as `Literal["b", "a"]`, and mean to be sent so.
    return _cached(annotation, repr(annotation))


def _fragment(annotation: object, _written: str) -> Fragment:
    with catch_warnings():
        # An alias is read here, from the annotation; pydantic thinks that nobody will.
        simplefilter("ignore", UnsupportedFieldAttributeWarning)
        adapter = TypeAdapter[object](annotation)
    core = adapter.core_schema
    shared: dict[str, CoreSchema] = {}
    if core["type"] == "definitions":
        shared = {each["ref"]: each for each in core["definitions"] if "ref" in each}
        core = core["schema"]
    json = cast("JsonSchema", untitled(adapter.json_schema(schema_generator=_Quiet)))
    definitions = cast("dict[str, JsonSchema]", json.pop("$defs", {}))
    if (name := _model_name(core)) and "properties" in json:
        # pydantic writes a model in full where it stands alone; two parameters of the same one share a definition.
        definitions, json = definitions | {name: json}, {"$ref": f"#/$defs/{name}"}
    return Fragment(core, shared, json, definitions)


_cached = lru_cache(maxsize=1024)(_fragment)


def _model_name(core: CoreSchema) -> str | None:
    cls = core.get("cls") if core["type"] in ("model", "dataclass", "typed-dict") else None
    return cls.__name__ if isinstance(cls, type) and cls.__name__.isidentifier() else None


def untitled(schema: object) -> object:
    """Copy a JSON schema without its titles, which cost tokens and say what the names say."""
    if isinstance(schema, list):
        return [untitled(each) for each in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    copy: JsonSchema = {}
    for key, value in cast("JsonSchema", schema).items():
        if key in _NAMESPACES and isinstance(value, dict):
            copy[key] = {name: untitled(each) for name, each in cast("JsonSchema", value).items()}
        elif key in _DATA:
            copy[key] = value
        elif key != "title":
            copy[key] = untitled(value)
    return copy


def _object_schema(parameters: list[Parameter]) -> JsonSchema:
    properties: JsonSchema = {}
    definitions: dict[str, JsonSchema] = {}
    extras: object = False
    clash = False
    for each in parameters:
        clash = clash or any(definitions.get(name, schema) != schema for name, schema in each.fragment.definitions.items())
        definitions.update(each.fragment.definitions)
        if each.kind is _STARS:
            extras = each.fragment.json or True
        else:
            properties[each.wire_name] = _property(each, each.fragment.json)
    if clash:
        properties, definitions = _apart(parameters)
    schema: JsonSchema = {"type": "object", "properties": properties}
    if required := [each.wire_name for each in parameters if each.required and each.kind is not _STARS]:
        schema["required"] = required
    schema["additionalProperties"] = extras
    if definitions:
        schema["$defs"] = definitions
    return schema


def _property(parameter: Parameter, schema: JsonSchema) -> JsonSchema:
    schema = dict(schema)
    if parameter.description:
        schema["description"] = parameter.description
    if parameter.default is not _EMPTY:
        try:
            schema["default"] = to_jsonable_python(parameter.default)
        except ValueError:
            schema.pop("default", None)
    return schema


def _apart(parameters: list[Parameter]) -> tuple[JsonSchema, dict[str, JsonSchema]]:
    """Make the properties where two different types have one name: pydantic tells them apart by longer names."""
    named = [each for each in parameters if each.kind is not _STARS]
    adapters = [(each.wire_name, "validation", TypeAdapter[object](each.annotation)) for each in named]
    schemas, shared = TypeAdapter.json_schemas(cast("Any", adapters), schema_generator=_Quiet)
    properties: JsonSchema = {
        each.wire_name: _property(each, cast("JsonSchema", untitled(schemas[each.wire_name, "validation"]))) for each in named
    }
    return properties, cast("dict[str, JsonSchema]", untitled(shared)["$defs"])  # type: ignore[index]


def _validator(parameters: list[Parameter]) -> SchemaValidator:
    fields: dict[str, core_schema.TypedDictField] = {}
    shared: dict[str, CoreSchema] = {}
    extras: CoreSchema | None = None
    for each in parameters:
        shared.update(each.fragment.shared)
        if each.kind is _STARS:
            extras = each.fragment.core
        else:
            fields[each.name] = core_schema.typed_dict_field(
                each.fragment.core, required=each.required, validation_alias=each.wire_name
            )
    schema: CoreSchema = core_schema.typed_dict_schema(
        fields, extras_schema=extras, extra_behavior="forbid" if extras is None else "allow"
    )
    return SchemaValidator(core_schema.definitions_schema(schema, list(shared.values())) if shared else schema)
