"""Structured output: the type of an agent's answer, and how the model gives it.

- Mode `tool`: the model calls a final-answer tool, whose arguments are the answer. That works with every model that
  calls tools, and beside other tools.
- Mode `format`: the endpoint constrains the model's text to a JSON schema (`response_format`).

Either way the answer is validated here, and the errors go back to the model.
"""

from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from itertools import takewhile
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast

from pydantic_core import SchemaValidator, ValidationError, core_schema

from agentkit.core.chat import FINAL_ANSWER, ToolSpec
from agentkit.core.checks import check_one_of
from agentkit.core.choice import ToolChoice, Verdict, allow
from agentkit.core.errors import AnswerInvalid, ConfigurationError
from agentkit.core.json import decode_beginning, object_of
from agentkit.core.state import Call, State
from agentkit.tool_choice import Policy
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.options import Errors, ToolOptions
from agentkit.tools.results import error_text, invalid_arguments_text
from agentkit.tools.schema.annotations import JsonSchema, TypeSchema, type_schema
from agentkit.tools.schema.core_schemas import build_validator
from agentkit.tools.schema.signature import Arguments
from agentkit.tools.schema.strict import NotStrict, strict_schema
from agentkit.tools.tool import Tool

T_co = TypeVar("T_co", covariant=True)

Mode: TypeAlias = Literal["tool", "format"]
"""How the model gives a typed answer: as the arguments of a tool, or as text that fits a JSON schema."""

OutputValidator: TypeAlias = Callable[[Any], object]
"""Gets a validated answer, sync or async, and raises `ModelRetry` if the model should try again."""

_ANSWER = "answer"
_DEFINITIONS = ("$defs", "definitions")
_MAX_SHOWN = 200
_DESCRIPTION = "Give the final answer. It ends the task."


class Output(NamedTuple, Generic[T_co]):
    """The type of an agent's answer; `output_of` makes one."""

    kind: object
    mode: Mode
    tool: Tool  # the final-answer tool; in mode `format`, its schema is the schema of the text
    validators: tuple[OutputValidator, ...]
    response_format: dict[str, object] | None  # of the request, in mode `format`
    wrapped: bool = False  # whether the JSON is an object with the answer as its one field

    @property
    def final(self) -> Tool | None:
        """The tool whose call is the answer; `None` if the answer is a text."""
        return self.tool if self.mode == "tool" else None

    @property
    def schema(self) -> dict[str, object]:
        """The JSON schema of the answer alone."""
        whole = self.tool.arguments.schema
        if not self.wrapped:
            return whole
        definitions = {name: whole[name] for name in _DEFINITIONS if name in whole}
        return {**object_of(object_of(whole["properties"])[_ANSWER]), **definitions}

    def checked_by(self, validator: OutputValidator) -> "Output[T_co]":
        """Return an output with one more validator."""
        validators = (*self.validators, validator)
        tool = _final_answer_tool(self.tool.arguments, validators, self.tool.spec)
        return self._replace(validators=validators, tool=tool)

    def read(self, written: str) -> T_co:
        """Validate an answer: the arguments of the final-answer tool, or the text. Raises pydantic's error."""
        return cast("T_co", parse_arguments(self.tool.arguments, written)[0][_ANSWER])

    def beginning(self, written: str) -> object:
        """Return the answer so far as plain JSON data; `None` if there is nothing yet."""
        try:
            data = decode_beginning(written)
        except ValueError:
            return None
        return object_of(data).get(_ANSWER) if self.wrapped else data

    async def error_in(self, written: str, errors: Errors) -> str | None:
        """Validate an answer that came as text, and return what is wrong with it as `errors` says, or `None`."""
        try:
            answer = self.read(written)
        except ValidationError as error:
            return invalid_arguments_text(error, "the answer")
        return await error_of(self.validators, answer, errors)

    def at_end(self, text: str, state: State) -> T_co:
        """Return the answer of a run from its last state, and its text: the model's or the ending tool's.

        `AnswerInvalid` says that there is none: the model refused, said nothing, or was truncated.
        """
        ending, reply = state.ending, state.open_reply
        if ending is not None and reply is not None:
            text = next(call.arguments for call in reply.tool_calls if call.id == ending.tool_call_id)
        try:
            return self.read(text)
        except ValidationError:
            raise AnswerInvalid(
                f"the run ended without a valid answer of the type that is wanted: {text[:_MAX_SHOWN]!r}", text
            ) from None


class answering(Policy):  # noqa: N801 (a policy is a word in a sentence)
    """A policy under which the model answers by calling the final-answer tool.

    `policy` decides on the other tools. Where it yields `none`, the final-answer tool is forced.
    """

    policy: Policy
    tool: str
    most: int  # how many invalid answers in a row are corrected before the run ends

    def __call__(self, state: State) -> ToolChoice:
        last = list(takewhile(lambda record: record.call.name == self.tool, reversed(state.calls)))
        if sum(record.outcome == "error" for record in last) > self.most:
            raise AnswerInvalid(
                f"the model's answer was invalid {self.most + 1} times in a row; the history says why",
                last[0].call.arguments,
            )
        choice = self.policy(state)
        if choice.mode == "none":
            return ToolChoice("tool", self.tool, by=choice.by)
        if self.tool in choice.withheld:
            choice = replace(choice, withheld=choice.withheld - {self.tool})
        tools = None if choice.tools is None else choice.tools | {self.tool}
        if choice.mode == "auto":
            return replace(choice, mode="required", tools=tools, firm=True)
        return replace(choice, tools=tools)

    def judge(self, call: Call, state: State) -> Verdict:
        return allow if call.name == self.tool else self.policy.judge(call, state)

    def memory(self, state: State) -> Hashable:
        last = takewhile(lambda record: record.call.name == self.tool, reversed(state.calls))
        errors = sum(record.outcome == "error" for record in last)
        return (min(errors, self.most + 1), self.policy.memory(state))

    def __repr__(self) -> str:
        return f"answering({self.policy!r}, {self.tool!r})"

    @property
    def tools(self) -> frozenset[str]:
        return self.policy.tools | {self.tool}

    @property
    def silences(self) -> bool:
        return False


def output_of(kind: object, mode: Mode = "tool", validators: Sequence[OutputValidator] = ()) -> Output[Any] | None:
    """Make the output of an agent from its options; `None` for a plain text."""
    check_one_of("output_mode", mode, ("tool", "format"))
    if kind is str:
        return None  # a plain text, which the validators get without a final-answer tool
    if isinstance(kind, str):
        raise ConfigurationError(f"output is a type, such as a dataclass or list[str], not {kind!r}")
    try:
        arguments, wrapped = _arguments_of(kind)
        response_format = _response_format(arguments) if mode == "format" else None
    except NotStrict as reason:
        raise ConfigurationError(
            f'output={kind!r} has no strict form, which output_mode="format" needs: {reason}; use output_mode="tool"'
        ) from reason
    except ConfigurationError as error:
        raise ConfigurationError(f"output={kind!r}: {error}") from error
    except Exception as error:
        raise ConfigurationError(f"output={kind!r} has no JSON Schema equivalent: {error}") from error
    doc = getattr(kind, "__doc__", None) if isinstance(kind, type) and kind.__module__ != "builtins" else None
    generated = doc is None or doc.startswith(f"{getattr(kind, '__name__', '')}(")  # by `@dataclass`
    spec = ToolSpec(FINAL_ANSWER, _described("" if generated else doc), arguments.schema)
    tool = _final_answer_tool(arguments, tuple(validators), spec)
    return Output(kind, mode, tool, tuple(validators), response_format, wrapped)


def output_from_schema(
    schema: Mapping[str, object], taken: Collection[str] = (), description: str = "", *, strict: bool = False
) -> Output[Any]:
    """Make the output of a run from a JSON schema: its answers are plain JSON data.

    Args:
        schema: The schema, of any type.
        taken: The names of other tools, which the final-answer tool must not have.
        description: What the answer is.
        strict: Whether the endpoint is asked to enforce the schema, if it has the form that strict schemas need.

    Raises:
        ToolDefinitionError: If it is no schema that can be enforced.
    """
    from agentkit.tools.schema.json_schema import arguments_from_schema  # noqa: PLC0415 (only for foreign schemas)

    answer = {name: value for name, value in schema.items() if name not in _DEFINITIONS}
    whole: dict[str, object] = {"type": "object", "properties": {_ANSWER: answer}, "required": [_ANSWER]}
    whole |= {"additionalProperties": False, **{name: schema[name] for name in _DEFINITIONS if name in schema}}
    arguments = arguments_from_schema("the answer", whole)
    names = (FINAL_ANSWER, *(f"{FINAL_ANSWER}_{number}" for number in range(2, len(taken) + 3)))
    name = next(name for name in names if name not in taken)
    spec = ToolSpec(name, _described(description), whole, strict and _is_strict(whole))
    return Output(schema, "tool", _final_answer_tool(arguments, (), spec), (), None, wrapped=True)


def json_object_output() -> Output[dict[str, Any]]:
    """Make the output of a run whose answer is a text that must be a JSON object."""
    wrap = core_schema.no_info_after_validator_function(lambda answer: {_ANSWER: answer}, core_schema.dict_schema())
    arguments = Arguments({"type": "object"}, partial(build_validator, wrap, ()))
    spec = ToolSpec(FINAL_ANSWER, _DESCRIPTION, arguments.schema)
    return Output(dict, "format", _final_answer_tool(arguments, (), spec), (), None)


def _is_strict(schema: dict[str, object]) -> bool:
    try:
        return strict_schema(schema) == schema
    except NotStrict:
        return False


def _described(text: str | None) -> str:
    return f"{_DESCRIPTION}\n\n{text}" if text else _DESCRIPTION


def _response_format(arguments: Arguments) -> dict[str, object]:
    schema = strict_schema(arguments.schema)
    return {"type": "json_schema", "json_schema": {"name": _ANSWER, "schema": schema, "strict": True}}


def _final_answer_tool(arguments: Arguments, validators: tuple[OutputValidator, ...], spec: ToolSpec) -> Tool:
    async def final_answer(answer: object) -> object:
        await _call_validators(validators, answer)
        return answer

    return Tool(final_answer, ToolOptions(name=spec.name, repeatable=True), spec, arguments, "async")


async def error_of(validators: tuple[OutputValidator, ...], answer: object, errors: Errors) -> str | None:
    """Return what the validators say is wrong with an answer, as `errors` says, or `None`."""
    try:
        await _call_validators(validators, answer)
    except ValidationError as error:
        return invalid_arguments_text(error, "the answer")
    except (Exception, SystemExit) as error:  # noqa: BLE001 (the user's validator, as in mode `tool`)
        return error_text(error, errors)
    return None


async def _call_validators(validators: tuple[OutputValidator, ...], answer: object) -> None:
    for validator in validators:
        returned = validator(answer)
        if isawaitable(returned):
            await cast("Awaitable[object]", returned)


def _arguments_of(kind: object) -> tuple[Arguments, bool]:
    """Return the arguments of the final-answer tool, and whether they wrap a type that is no object."""
    fragment = type_schema(kind, tags=True)
    definitions = dict(fragment.definitions)
    name = str(fragment.json.get("$ref", "")).removeprefix("#/$defs/")
    whole = definitions.get(name, fragment.json)
    wrapped = not (whole.get("type") == "object" and whole.get("properties"))
    if not wrapped:
        if name and not _refers_to(name, definitions):
            del definitions[name]
        make = partial(_object_validator, fragment)
    else:
        whole = {"type": "object", "properties": {_ANSWER: fragment.json}, "required": [_ANSWER]}
        whole |= {"additionalProperties": False}
        make = partial(_wrapped_validator, fragment)
    schema: JsonSchema = {**whole, "$defs": definitions} if definitions else {**whole}
    return Arguments(schema, make), wrapped


def _refers_to(name: str, schema: object) -> bool:
    """Whether a schema refers to a definition, as the schema of a tree does to itself."""
    if isinstance(schema, dict):
        fields = cast("JsonSchema", schema)
        return fields.get("$ref") == f"#/$defs/{name}" or any(_refers_to(name, value) for value in fields.values())
    return isinstance(schema, list) and any(_refers_to(name, item) for item in cast("list[object]", schema))


def _object_validator(fragment: TypeSchema) -> SchemaValidator:
    wrap = core_schema.no_info_after_validator_function(lambda answer: {_ANSWER: answer}, fragment.core)
    return build_validator(wrap, fragment.shared.values())


def _wrapped_validator(fragment: TypeSchema) -> SchemaValidator:
    field = core_schema.typed_dict_field(fragment.core, required=True)
    whole = core_schema.typed_dict_schema({_ANSWER: field}, extra_behavior="forbid")
    return build_validator(whole, fragment.shared.values())
