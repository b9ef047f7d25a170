"""Typed answers: what an agent's answer is to be, and how the model gives it.

There are two ways. The model calls a final-answer tool, whose arguments are the answer: that works with every model
that calls tools, and beside other tools. Or the endpoint holds the model's text to a JSON schema (`response_format`).
Either way the answer is validated here, and what is wrong goes back to the model.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import isawaitable
from itertools import takewhile
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast

from pydantic_core import CoreSchema, SchemaValidator, ValidationError, core_schema

from agentkit.core.chat import ToolSpec
from agentkit.core.checks import check_one_of
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import AnswerInvalid, ConfigurationError, ToolError
from agentkit.core.json import decode_beginning, object_of
from agentkit.core.state import State
from agentkit.tool_choice import Policy
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.options import ToolOptions
from agentkit.tools.results import invalid_arguments_text
from agentkit.tools.schema.annotations import JsonSchema, TypeSchema, type_schema
from agentkit.tools.schema.signature import Arguments
from agentkit.tools.schema.strict import NotStrict, strict_schema
from agentkit.tools.tool import Tool

T_co = TypeVar("T_co", covariant=True)

Mode: TypeAlias = Literal["tool", "format"]
"""How the model gives a typed answer: as the arguments of a tool, or as text that the endpoint holds to a schema."""

OutputValidator: TypeAlias = Callable[[Any], object]
"""Looks at a validated answer, sync or async, and raises `Retry` where the model should try again."""

FINAL_ANSWER = "final_answer"
_ANSWER = "answer"
_SHOWN = 200
_DESCRIPTION = "Give the final answer. It ends the task."


@dataclass(frozen=True, slots=True, eq=False)
class Output(Generic[T_co]):
    """What an agent's answer is to be; `output_of` makes one.

    Attributes:
        kind: The type.
        mode: How the model gives it.
        tool: The final-answer tool; under `format`, its schema is what the text is held to.
        validators: What looks at the answer once it is validated.
        response_format: What requests ask the endpoint to hold the text to, under `format`.
        wrapped: Whether the model gives it as the one field of an object.
    """

    kind: object
    mode: Mode
    tool: Tool
    validators: tuple[OutputValidator, ...]
    response_format: dict[str, object] | None
    wrapped: bool = False

    @property
    def final(self) -> Tool | None:
        """The tool whose call is the answer; `None` if the answer is a text."""
        return self.tool if self.mode == "tool" else None

    def read(self, written: str) -> T_co:
        """Read an answer.

        Args:
            written: The arguments of the final-answer tool, or the text of the answer.

        Raises:
            pydantic.ValidationError: If it does not fit.
        """
        return cast("T_co", parse_arguments(self.tool.arguments, written)[0][_ANSWER])

    def beginning(self, written: str) -> object:
        """Read as much of an answer as is written: plain JSON data, or `None` if that is nothing yet."""
        try:
            data = decode_beginning(written)
        except ValueError:
            return None
        return object_of(data).get(_ANSWER) if self.wrapped else data

    async def error_in(self, written: str) -> str | None:
        """Say what is wrong with an answer that came as text; `None` if nothing is."""
        try:
            await _checked(self.validators, self.read(written))
        except ValidationError as error:
            return invalid_arguments_text(error, "the answer")
        except ToolError as error:
            return str(error)
        return None

    def at_end(self, text: str, state: State) -> T_co:
        """Give the answer that a run came to.

        Args:
            text: What the model said, or what the tool that ended the run returned.
            state: The end of the run.

        Raises:
            AnswerInvalid: If there is none: the model declined, or said nothing, or was cut.
        """
        ending, reply = state.ending, state.open_reply
        if ending is not None and reply is not None:
            text = next(call.arguments for call in reply.tool_calls if call.id == ending.tool_call_id)
        try:
            return self.read(text)
        except ValidationError:
            raise AnswerInvalid(
                f"the run ended without an answer of the type that is wanted: {text[:_SHOWN]!r}", text
            ) from None


class answering(Policy):  # noqa: N801 (a policy is a word in a sentence)
    """A policy under which an answer is a call of the final-answer tool.

    Attributes:
        policy: What decides on the other tools. Where it lets the model only answer, that tool is forced.
        tool: The name of the final-answer tool.
        most: How often in a row an answer may be one that does not fit, before the run ends.
    """

    policy: Policy
    tool: str
    most: int

    def __call__(self, state: State) -> ToolChoice:
        """Choose as the policy does, with a call in the place of an answer.

        Raises:
            AnswerInvalid: If too many answers in a row did not fit.
        """
        last = list(takewhile(lambda each: each.call.name == self.tool, reversed(state.calls)))
        if sum(each.outcome == "error" for each in last) > self.most:
            raise AnswerInvalid(
                f"the model's answer did not fit {self.most + 1} times in a row; why, is in the history",
                last[0].call.arguments,
            )
        choice = self.policy(state)
        if choice.mode == "none":
            return ToolChoice("tool", self.tool)
        tools = None if choice.tools is None else choice.tools | {self.tool}
        if choice.mode == "auto":
            return replace(choice, mode="required", tools=tools, firm=True)
        return replace(choice, tools=tools)

    def __repr__(self) -> str:
        return f"answering({self.policy!r}, {self.tool!r})"

    @property
    def tools(self) -> frozenset[str]:
        """Those of the policy, and the final-answer tool."""
        return self.policy.tools | {self.tool}

    @property
    def silences(self) -> bool:
        """Never: the model answers by a call."""
        return False


def output_of(kind: object, mode: Mode = "tool", validators: Sequence[OutputValidator] = ()) -> Output[Any] | None:
    """Make what an answer is to be.

    Args:
        kind: A pydantic model, a dataclass, a TypedDict, a Literal, a list, a union, a scalar: whatever pydantic
            validates. `str` is a plain answer.
        mode: How the model gives it.
        validators: Functions that look at the validated answer and raise `Retry` where the model should try again.

    Returns:
        `None` for a plain answer.

    Raises:
        ConfigurationError: If it cannot be said in JSON, or not in the strict form that `format` needs.
    """
    check_one_of("output_mode", mode, ("tool", "format"))
    if kind is str and not validators:
        return None
    try:
        arguments, wrapped = _arguments(kind)
        form = _format(arguments) if mode == "format" else None
    except NotStrict as reason:
        raise ConfigurationError(
            f'output={kind!r} has no strict form, which output_mode="format" needs: {reason}; use output_mode="tool"'
        ) from reason
    except Exception as error:
        raise ConfigurationError(f"output={kind!r} cannot be told to a model as JSON: {error}") from error
    return Output(kind, mode, _tool(arguments, tuple(validators), kind), tuple(validators), form, wrapped)


def _format(arguments: Arguments) -> dict[str, object]:
    schema = strict_schema(arguments.schema)
    return {"type": "json_schema", "json_schema": {"name": _ANSWER, "schema": schema, "strict": True}}


def _tool(arguments: Arguments, validators: tuple[OutputValidator, ...], kind: object) -> Tool:
    async def final_answer(answer: object) -> object:
        await _checked(validators, answer)
        return answer

    said = getattr(kind, "__doc__", None) if isinstance(kind, type) and kind.__module__ != "builtins" else None
    generated = said is None or said.startswith(f"{getattr(kind, '__name__', '')}(")  # as a dataclass's own is
    description = _DESCRIPTION if generated else f"{_DESCRIPTION}\n\n{said}"
    spec = ToolSpec(FINAL_ANSWER, description, arguments.schema)
    return Tool(final_answer, ToolOptions(name=FINAL_ANSWER, repeatable=True), spec, arguments, "async")


async def _checked(validators: tuple[OutputValidator, ...], answer: object) -> None:
    for check in validators:
        found = check(answer)
        if isawaitable(found):
            await cast("Awaitable[object]", found)


def _arguments(kind: object) -> tuple[Arguments, bool]:
    """Make the arguments of the final-answer tool: the fields of an object, or one argument for anything else.

    Returns:
        The arguments, and whether it is one for anything else.
    """
    fragment = type_schema(kind)
    definitions = dict(fragment.definitions)
    name = str(fragment.json.get("$ref", "")).removeprefix("#/$defs/")
    whole = definitions.get(name, fragment.json)
    wrapped = not (whole.get("type") == "object" and whole.get("properties"))
    if not wrapped:
        if name and not _speaks_of(name, definitions):
            del definitions[name]
        make = partial(_of_object, fragment)
    else:
        whole = {"type": "object", "properties": {_ANSWER: fragment.json}, "required": [_ANSWER]}
        whole |= {"additionalProperties": False}
        make = partial(_of_value, fragment)
    schema: JsonSchema = {**whole, "$defs": definitions} if definitions else {**whole}
    return Arguments(schema, make), wrapped


def _speaks_of(name: str, schema: object) -> bool:
    """Tell whether a schema refers to a definition, as that of a tree does to itself."""
    if isinstance(schema, dict):
        fields = cast("JsonSchema", schema)
        return fields.get("$ref") == f"#/$defs/{name}" or any(_speaks_of(name, each) for each in fields.values())
    return isinstance(schema, list) and any(_speaks_of(name, each) for each in cast("list[object]", schema))


def _of_object(fragment: TypeSchema) -> SchemaValidator:
    return _validator(fragment, core_schema.no_info_after_validator_function(_named, fragment.core))


def _of_value(fragment: TypeSchema) -> SchemaValidator:
    field = core_schema.typed_dict_field(fragment.core, required=True)
    return _validator(fragment, core_schema.typed_dict_schema({_ANSWER: field}, extra_behavior="forbid"))


def _validator(fragment: TypeSchema, core: CoreSchema) -> SchemaValidator:
    shared = list(fragment.shared.values())
    return SchemaValidator(core_schema.definitions_schema(core, shared) if shared else core)


def _named(answer: object) -> dict[str, object]:
    return {_ANSWER: answer}
