"""A function's signature as a JSON schema, and as the validator that holds arguments to it.

Both come from the same pydantic schema of each parameter, so they say the same. A validator is put together at its
first use.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import (
    Annotated,
    Any,
    NamedTuple,
    NoReturn,
    NotRequired,
    Required,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic_core import CoreSchema, PydanticKnownError, SchemaValidator, core_schema, to_jsonable_python

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.context import InjectedParameter, injected_parameter
from agentkit.tools.schema.annotations import JsonSchema, TypeSchema, apart, caller_locals, is_field, type_schema

_EMPTY = inspect.Parameter.empty
_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_STAR = inspect.Parameter.VAR_POSITIONAL
_STARS = inspect.Parameter.VAR_KEYWORD


class UnresolvedName(ToolDefinitionError):
    """An annotation names what is not defined yet; it may be when the tool is first used."""


class Bound(NamedTuple):
    """Validated arguments, ready for the call: `function(*args, **kwargs)`."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Parameter(NamedTuple):
    """One parameter as the model sees it."""

    name: str
    wire_name: str
    kind: object
    annotation: object
    required: bool
    default: object
    description: str
    fragment: TypeSchema


class Arguments:
    """What a function takes: the JSON schema of its arguments, and the way from JSON to the call.

    Args:
        schema: The JSON schema, an object with one property for each parameter.
        validator: Makes what holds arguments to it; called at the first use.
        by_position: The parameters that are passed by position.
        hidden: The parameters that the model does not see.
        parameters: Those that it does.

    Attributes:
        schema: The JSON schema.
        hidden: The parameters that the model does not see; they are passed by name.
        names: The names of the others, by those that the model knows.
    """

    __slots__ = ("_by_position", "_defaults", "_make_validator", "_validator", "hidden", "names", "schema")

    def __init__(
        self,
        schema: JsonSchema,
        validator: Callable[[], SchemaValidator],
        by_position: tuple[Parameter, ...] = (),
        hidden: tuple[InjectedParameter, ...] = (),
        parameters: Sequence[Parameter] = (),
    ) -> None:
        self.schema = schema
        self.hidden = hidden
        self.names = {each.wire_name: each.name for each in parameters}
        self._defaults = {each.name: each.default for each in parameters if each.default is not _EMPTY}
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

    def complete(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Give validated values with the defaults of those that were left out."""
        return {**self._defaults, **values}

    def bind(self, values: dict[str, Any]) -> Bound:
        """Turn validated values into positional and keyword arguments."""
        if not self._by_position:
            return Bound((), values)
        values = dict(values)
        args: list[Any] = []
        for each in self._by_position:
            if each.kind is _STAR:
                args.extend(values.pop(each.name, ()))
            else:
                args.append(values.pop(each.name, each.default))
        return Bound(tuple(args), values)


def arguments_from_signature(
    function: Callable[..., object], described: Mapping[str, str], *, unbound: bool = False
) -> Arguments:
    """Read what a function takes from its signature.

    Args:
        function: Any callable that has a signature.
        described: The descriptions of parameters that its docstring gives.
        unbound: Whether it is a method seen before it is bound, so that its first parameter is not the model's.

    Raises:
        UnresolvedName: If an annotation names what is not defined (yet).
        ToolDefinitionError: If an annotation cannot be said in JSON.
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise ToolDefinitionError(
            f"{callable_name(function)} has no signature that can be read; wrap it in a function with annotated parameters"
        ) from error
    given, target = _given(function), annotated(function)
    parameters: list[Parameter] = []
    hidden: list[InjectedParameter] = []
    by_name = True
    for each in list(signature.parameters.values())[1 if unbound else 0 :]:
        if each.name not in given:
            annotation = annotation_of(target, each)
            if found := injected_parameter(each.name, annotation):
                hidden.append(found)
                by_name = by_name and each.kind is not _POSITIONAL
            else:
                parameters += _parameters(function, each, annotation, described)
    names = [each.wire_name for each in parameters if each.kind is not _STARS]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ToolDefinitionError(
            f"{callable_name(function)}: two parameters have the name {twice!r}; give one another alias"
        )
    star = any(each.kind is _STAR for each in parameters)
    if hidden and (star or not by_name):
        raise ToolDefinitionError(
            f"{callable_name(function)}: {hidden[0].name!r} is filled by name, so it must not be positional-only, nor stand "
            "beside `*args`"
        )
    kinds = (_POSITIONAL, _EITHER, _STAR) if star else (_POSITIONAL,)
    by_position = tuple(each for each in parameters if each.kind in kinds)
    given |= {each.name for each in hidden}
    validator = partial(_validator, parameters, given)
    return Arguments(_object_schema(parameters), validator, by_position, tuple(hidden), parameters)


def callable_name(function: object) -> str:
    """Give a callable's name for an error's text."""
    return getattr(inner(function), "__qualname__", None) or type(function).__qualname__


def inner(function: object) -> object:
    """Give what a callable really runs: through partials and bound methods, and the `__call__` of an object."""
    function = unpartial(function)
    if inspect.ismethod(function) or isinstance(function, staticmethod | classmethod):
        return cast("Any", function).__func__
    if isinstance(function, FunctionType | type) or inspect.isbuiltin(function):
        return function
    call = inspect.getattr_static(type(function), "__call__", None)
    return call if isinstance(call, FunctionType) else function


def unpartial(function: object) -> object:
    """Give what a `functools.partial` was made of; any other callable is given back."""
    while isinstance(function, partial):
        function = cast("object", function.func)
    return function


def _given(function: object) -> frozenset[str]:
    """Name the arguments that a partial has bound by keyword (those bound by position are not in its signature)."""
    given: frozenset[str] = frozenset()
    while isinstance(function, partial):
        given |= function.keywords.keys()
        function = cast("object", function.func)
    return given


def annotated(function: object) -> object:
    """Give the function that the annotations stand at."""
    target = inspect.unwrap(cast("Callable[..., object]", inner(function)))
    return cast("Any", target).__init__ if isinstance(target, type) else target


def annotation_of(target: object, parameter: inspect.Parameter) -> object:
    """Read a parameter's annotation, which may be a text or have texts inside."""
    name = parameter.name
    annotation = getattr(target, "__annotations__", {}).get(name, parameter.annotation)
    if annotation is _EMPTY:
        return Any
    if isinstance(annotation, type):
        return annotation
    scope = {each: getattr(target, each, {}) for each in ("__globals__", "__type_params__")}
    read = partial(get_type_hints, SimpleNamespace(__annotations__={name: annotation}, **scope), include_extras=True)
    try:
        try:
            return read(localns=caller_locals() if "<locals>" in callable_name(target) else None)[name]
        except NameError:
            return read(localns=caller_locals())[name]
    except NameError as error:
        raise UnresolvedName(
            f"{callable_name(target)}, parameter {name!r}: {error.name!r} is not defined where the function is; define it "
            "(at the top level of the module, if the function is used elsewhere) before the tool is used"
        ) from error
    except (SyntaxError, AttributeError, TypeError) as error:
        raise ToolDefinitionError(
            f"{callable_name(target)}, parameter {name!r}: {annotation!r} is not a type ({error}); a description goes into "
            'the docstring, or beside the type, as Annotated[str, "the description"]'
        ) from error


def _parameters(
    function: object, parameter: inspect.Parameter, annotation: object, described: Mapping[str, str]
) -> list[Parameter]:
    """Read one parameter of a signature; `**options: Unpack[SomeTypedDict]` gives one for each key."""
    # There are two of `Unpack` before Python 3.12: typing's and typing_extensions'.
    if parameter.kind is _STARS and str(get_origin(annotation)).endswith(".Unpack"):
        unpacked = get_args(annotation)[0]
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
    if is_field(default):
        annotation = Annotated[annotation, default]
        default = _EMPTY
    if get_origin(annotation) in (Required, NotRequired):
        annotation = get_args(annotation)[0]
    description, wire_name = described.get(parameter.name, ""), parameter.name
    for extra in cast("tuple[Any, ...]", getattr(annotation, "__metadata__", ())):
        if isinstance(extra, str):
            description = extra
        elif is_field(extra):
            description = extra.description or description
            alias = extra.validation_alias or extra.alias
            wire_name = alias if isinstance(alias, str) else wire_name
    try:
        fragment = type_schema(annotation)
    except Exception as error:  # a type's own hook may raise anything
        raise _unsupported(function, parameter.name, annotation, error) from error
    if fragment.core["type"] == "default" and default is not _EMPTY:
        # The function's own default is nearer than the one in the annotation.
        fragment = fragment._replace(core=fragment.core["schema"])
    required = default is _EMPTY and parameter.kind is not _STAR and fragment.core["type"] != "default"
    return Parameter(parameter.name, wire_name, parameter.kind, annotation, required, default, description, fragment)


def _unsupported(function: object, name: str, annotation: object, error: Exception) -> ToolDefinitionError:
    where = f"{callable_name(function)}, parameter {name!r}"
    reason = str(error).partition("\n")[0].partition(". Set `arbitrary_types_allowed")[0].rstrip(".")
    match getattr(error, "code", None):
        case "undefined-annotation" | "class-not-fully-defined":
            return UnresolvedName(f"{where}: {reason}; define the missing name before the tool is used")
        case "typed-dict-version":
            return ToolDefinitionError(
                f"{where}: before Python 3.12, import TypedDict from typing_extensions, not from typing"
            )
        case _:
            return ToolDefinitionError(
                f"{where}: {inspect.formatannotation(annotation)} cannot be told to a model as JSON ({reason}). "
                "Annotate it with a type that has a JSON form, such as str, int, list[str], a dataclass or a pydantic "
                "model, and make the object in the function; or bind it with functools.partial, unseen by the model"
            )


def _object_schema(parameters: list[Parameter]) -> JsonSchema:
    schemas, definitions = _together(parameters)
    properties: JsonSchema = {}
    extras: object = False
    for each, schema in zip(parameters, schemas, strict=True):
        if each.kind is _STARS:
            extras = schema or True
        else:
            properties[each.wire_name] = _property(each, schema)
    whole: JsonSchema = {"type": "object", "properties": properties}
    if required := [each.wire_name for each in parameters if each.required and each.kind is not _STARS]:
        whole["required"] = required
    whole["additionalProperties"] = extras
    if definitions:
        whole["$defs"] = definitions
    return whole


def _together(parameters: list[Parameter]) -> tuple[list[JsonSchema], dict[str, JsonSchema]]:
    """Give the JSON schema of each parameter, and the definitions that they refer to."""
    definitions: dict[str, JsonSchema] = {}
    for each in parameters:
        if any(definitions.get(name, schema) != schema for name, schema in each.fragment.definitions.items()):
            return apart({each.name: each.annotation for each in parameters})
        definitions.update(each.fragment.definitions)
    return [each.fragment.json for each in parameters], definitions


def _property(parameter: Parameter, schema: JsonSchema) -> JsonSchema:
    schema = dict(schema)
    if parameter.description:
        schema["description"] = parameter.description
    if parameter.default is not _EMPTY:
        default = parameter.default
        if isinstance(default, set | frozenset):
            # A set has no order of its own, and a tool is to be the same bytes in every process.
            default = sorted(cast("set[object]", default), key=repr)
        try:
            schema["default"] = to_jsonable_python(default)
        except ValueError:
            schema.pop("default", None)
    return schema


def _validator(parameters: list[Parameter], given: frozenset[str]) -> SchemaValidator:
    # `**options` must not take what a partial has bound already.
    bound = core_schema.typed_dict_field(core_schema.no_info_plain_validator_function(_refuse), required=False)
    fields: dict[str, core_schema.TypedDictField] = dict.fromkeys(given, bound)
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


def _refuse(_: object) -> NoReturn:
    raise PydanticKnownError("extra_forbidden")
