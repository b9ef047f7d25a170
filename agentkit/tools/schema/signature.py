"""A function's signature as a JSON schema, and as the validator for its arguments.

Both come from the same pydantic schema of each parameter, so they agree. A validator is built at its first use.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import (
    Annotated,
    Any,
    NamedTuple,
    NotRequired,
    Protocol,
    Required,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic_core import (
    CoreSchema,
    InitErrorDetails,
    PydanticKnownError,
    SchemaValidator,
    ValidationError,
    core_schema,
    to_jsonable_python,
)
from typing_extensions import ReadOnly

from agentkit.core.errors import ToolDefinitionError
from agentkit.core.json import decode
from agentkit.core.signatures import signature_of
from agentkit.tools.context import InjectedParameter, injected_parameter
from agentkit.tools.schema.annotations import (
    JsonSchema,
    TypeSchema,
    UnresolvedName,
    distinct_schemas,
    is_field,
    resolve_annotation,
    type_schema,
    unwrap_annotation,
)
from agentkit.tools.schema.callables import callable_name, strip_partial
from agentkit.tools.schema.core_schemas import as_value_error, build_validator

_EMPTY = inspect.Parameter.empty
_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY
_EITHER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_BY_NAME = inspect.Parameter.KEYWORD_ONLY
_STAR = inspect.Parameter.VAR_POSITIONAL
_STARS = inspect.Parameter.VAR_KEYWORD


class Bound(NamedTuple):
    """Validated arguments, ready for the call: `function(*args, **kwargs)`."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Parameter(NamedTuple):
    """One parameter as the model sees it; `wire_name` is its alias, or its name."""

    name: str
    wire_name: str
    kind: object
    annotation: object
    required: bool
    default: object
    description: str
    schema: TypeSchema


class Validator(Protocol):
    """Returns the values in JSON text, or raises pydantic's `ValidationError`."""

    def validate_json(self, data: str | bytes, /) -> Any: ...


class Arguments:
    """The arguments of a tool: their JSON schema, and the way from JSON text to the call.

    `injected` are the parameters that the model does not see; `names` has the others, by the names that it knows.
    `unenforced` names the parts of a given schema that are not checked.
    """

    __slots__ = (
        "_by_position",
        "_defaults",
        "_make_validator",
        "_validator",
        "injected",
        "names",
        "schema",
        "unenforced",
    )

    def __init__(
        self,
        schema: JsonSchema,
        make_validator: Callable[[], Validator],
        parameters: Sequence[Parameter] = (),
        injected: tuple[InjectedParameter, ...] = (),
        unenforced: tuple[str, ...] = (),
    ) -> None:
        self.schema = schema
        self.unenforced = unenforced
        self.injected = injected
        self.names = {parameter.wire_name: parameter.name for parameter in parameters}
        self._defaults = {
            parameter.name: parameter.default for parameter in parameters if parameter.default is not _EMPTY
        }
        star = any(parameter.kind is _STAR for parameter in parameters)
        kinds = (_POSITIONAL, _EITHER, _STAR) if star else (_POSITIONAL,)
        self._by_position = [parameter for parameter in parameters if parameter.kind in kinds]
        self._make_validator = make_validator
        self._validator: Validator | None = None

    def validate(self, arguments: str | bytes) -> dict[str, Any]:
        """Return the values in a JSON object by parameter, as the annotated types, or raise `ValidationError`.

        A parameter that was left out is not among them, so that the function uses its own default. `NaN` and `Infinity`
        are no JSON, though pydantic reads them: a rule such as `amount > 100` is false for `NaN`.
        """
        if self._validator is None:
            self._validator = self._make_validator()
        try:
            text = arguments if isinstance(arguments, str) else arguments.decode()
            if "NaN" in text or "Infinity" in text:
                decode(text)
        except ValueError as error:
            detail = InitErrorDetails(type="json_invalid", input=arguments, ctx={"error": str(error)})
            raise ValidationError.from_exception_data("arguments", [detail], "json") from None
        try:
            return cast("dict[str, Any]", self._validator.validate_json(arguments))
        except ValidationError:
            raise
        except (Exception, SystemExit) as error:
            # Where a default or a comparison raises, pydantic does not say for which argument.
            detail = InitErrorDetails(type="value_error", input=arguments, ctx={"error": as_value_error(error)})
            raise ValidationError.from_exception_data("arguments", [detail]) from error

    def complete(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return validated values, with the defaults of the parameters that were left out."""
        return {**self._defaults, **values}

    def bind(self, values: dict[str, Any]) -> Bound:
        """Turn validated values into positional and keyword arguments."""
        if not self._by_position:
            return Bound((), values)
        values = dict(values)
        args: list[Any] = []
        for parameter in self._by_position:
            if parameter.kind is _STAR:
                args.extend(values.pop(parameter.name, ()))
            else:
                args.append(values.pop(parameter.name, parameter.default))
        return Bound(tuple(args), values)


def arguments_from_signature(
    function: Callable[..., object], descriptions: Mapping[str, str], *, unbound: bool = False
) -> Arguments:
    """Read a function's arguments from its signature, with the descriptions of parameters from its docstring.

    The first parameter of an unbound method is skipped. `UnresolvedName` may be resolved later.
    """
    try:
        signature = signature_of(function)
    except (ValueError, TypeError) as error:
        raise ToolDefinitionError(
            f"{callable_name(function)} has no readable signature; wrap it in a function with annotated parameters"
        ) from error
    _, filled = strip_partial(function)
    parameters: list[Parameter] = []
    injected: list[InjectedParameter] = []
    for parameter in list(signature.parameters.values())[1 if unbound else 0 :]:
        if parameter.name in filled:
            continue
        annotation = resolve_annotation(function, parameter)
        if hidden := _injected(function, parameter, annotation):
            injected.append(hidden)
        else:
            parameters += _parameters(function, parameter, annotation, descriptions)
    names = [parameter.wire_name for parameter in parameters if parameter.kind is not _STARS]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ToolDefinitionError(f"{callable_name(function)}: two parameters are called {twice!r}; change one's alias")
    kinds = {signature.parameters[parameter.name].kind for parameter in injected}
    if not kinds <= {_EITHER, _BY_NAME} or (injected and any(parameter.kind is _STAR for parameter in parameters)):
        raise ToolDefinitionError(
            f"{callable_name(function)}: {injected[0].name!r} is filled by name, so it must not be positional-only, "
            "`*args` or `**options`, or beside `*args`"
        )
    make_validator = partial(_validator, parameters, filled | {parameter.name for parameter in injected})
    return Arguments(_object_schema(parameters), make_validator, parameters, tuple(injected))


def _injected(function: object, parameter: inspect.Parameter, annotation: object) -> InjectedParameter | None:
    try:
        return injected_parameter(parameter.name, annotation, parameter.default)
    except NameError as error:  # Python reads a `type` alias where it is first used
        raise UnresolvedName(
            f"{callable_name(function)}, parameter {parameter.name!r}: {error}; define it before the tool is used"
        ) from error
    except ToolDefinitionError as error:
        raise ToolDefinitionError(f"{callable_name(function)}, parameter {parameter.name!r}: {error}") from error


def _parameters(
    function: object, parameter: inspect.Parameter, annotation: object, descriptions: Mapping[str, str]
) -> list[Parameter]:
    """Read one parameter of a signature; `**options: Unpack[SomeTypedDict]` is one parameter per key."""
    # Python 3.11 has two of `Unpack`: that of typing and that of typing_extensions.
    if parameter.kind is _STARS and str(get_origin(annotation)).endswith(".Unpack"):
        unpacked = get_args(annotation)[0]
        required = cast("frozenset[str]", unpacked.__required_keys__)
        return [
            _parameter(function, inspect.Parameter(key, _BY_NAME), hint, descriptions)._replace(
                required=key in required
            )
            for key, hint in get_type_hints(unpacked, include_extras=True).items()
        ]
    if parameter.kind is _STAR:
        annotation = list[annotation]  # type: ignore[valid-type]
    named = [_parameter(function, parameter, annotation, descriptions)]
    if parameter.kind is _STARS:
        # The docstring may name keys; the model sees them, and none is required.
        taken = signature_of(cast("Callable[..., object]", strip_partial(function)[0])).parameters
        keys = [inspect.Parameter(key, _BY_NAME) for key in descriptions if key.isidentifier() and key not in taken]
        named += [_parameter(function, key, annotation, descriptions)._replace(required=False) for key in keys]
    return named


def _parameter(
    function: object, parameter: inspect.Parameter, annotation: object, descriptions: Mapping[str, str]
) -> Parameter:
    default = parameter.default
    if is_field(default):
        annotation = Annotated[annotation, default]
        default = _EMPTY
    annotation = _without_qualifiers(annotation)
    description, wire_name = descriptions.get(parameter.name, ""), parameter.name
    for extra in cast("tuple[Any, ...]", unwrap_annotation(annotation)[1]):
        if isinstance(extra, str):
            description = extra
        elif is_field(extra):
            description = extra.description or description
            alias = extra.validation_alias or extra.alias
            wire_name = alias if isinstance(alias, str) else wire_name
    try:
        schema = type_schema(annotation)
    except Exception as error:  # a type's own hook may raise anything
        raise _unsupported(f"{callable_name(function)}, parameter {parameter.name!r}", annotation, error) from error
    if schema.core["type"] == "default" and default is not _EMPTY:
        # The function's own default is nearer than the one in the annotation.
        schema = schema._replace(core=schema.core["schema"])
    may_be_left_out = parameter.kind in (_STAR, _STARS) or schema.core["type"] == "default"
    required = default is _EMPTY and not may_be_left_out
    return Parameter(parameter.name, wire_name, parameter.kind, annotation, required, default, description, schema)


def _without_qualifiers(annotation: Any) -> Any:
    """Return the type of a key of a typed dict, without `Required`, `NotRequired` and `ReadOnly`."""
    if get_origin(annotation) in (Required, NotRequired, ReadOnly):
        return _without_qualifiers(get_args(annotation)[0])
    if get_origin(annotation) is Annotated:
        return Annotated[_without_qualifiers(get_args(annotation)[0]), *annotation.__metadata__]
    return annotation


def _unsupported(where: str, annotation: object, error: Exception) -> ToolDefinitionError:
    if isinstance(error, ToolDefinitionError):
        return ToolDefinitionError(f"{where}: {error}")
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
                f"{where}: {inspect.formatannotation(annotation)} has no JSON form ({reason}). Annotate it with a type "
                "that has one, such as str, int, list[str], a dataclass or a pydantic model, and create the object "
                "inside the function; or bind it with functools.partial, so that the model does not see it"
            )


def _object_schema(parameters: list[Parameter]) -> JsonSchema:
    schemas, definitions = _merge_definitions(parameters)
    properties: JsonSchema = {}
    extras: object = False
    for parameter, schema in zip(parameters, schemas, strict=True):
        if parameter.kind is _STARS:
            extras = schema or True
        else:
            properties[parameter.wire_name] = _property(parameter, schema)
    whole: JsonSchema = {"type": "object", "properties": properties}
    if required := [parameter.wire_name for parameter in parameters if parameter.required]:
        whole["required"] = required
    whole["additionalProperties"] = extras
    if definitions:
        whole["$defs"] = definitions
    return whole


def _merge_definitions(parameters: list[Parameter]) -> tuple[list[JsonSchema], dict[str, JsonSchema]]:
    """Return the JSON schema of each parameter, and the definitions that they refer to."""
    definitions: dict[str, JsonSchema] = {}
    for parameter in parameters:
        own = parameter.schema.definitions
        if any(definitions.get(name, definition) != definition for name, definition in own.items()):
            return distinct_schemas({parameter.name: parameter.annotation for parameter in parameters})
        definitions.update(own)
    return [parameter.schema.json for parameter in parameters], definitions


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


def _validator(parameters: list[Parameter], forbidden: frozenset[str]) -> SchemaValidator:
    # `**options` must not take what a partial or a dependency fills.
    refused = core_schema.typed_dict_field(core_schema.no_info_plain_validator_function(_refuse), required=False)
    fields: dict[str, core_schema.TypedDictField] = dict.fromkeys(forbidden, refused)
    shared: dict[str, CoreSchema] = {}
    extras: CoreSchema | None = None
    for parameter in parameters:
        shared.update(parameter.schema.shared)
        core = parameter.schema.core
        if parameter.kind is _STARS:
            extras = core
        else:
            fields[parameter.name] = core_schema.typed_dict_field(
                core, required=parameter.required, validation_alias=parameter.wire_name
            )
    schema = core_schema.typed_dict_schema(
        fields, extras_schema=extras, extra_behavior="forbid" if extras is None else "allow"
    )
    return build_validator(schema, shared.values())


def _refuse(_: object) -> object:
    raise PydanticKnownError("extra_forbidden")
