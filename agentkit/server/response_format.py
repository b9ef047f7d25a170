"""The field `response_format`: the form of the answer that a client asks for.

- An agent with text answers takes the client's schema as its output type for the run: the answer is validated and, if
  needed, corrected. `json_object` is a text that must be a JSON object.
- A typed agent keeps its type. It accepts a schema that all its answers fit, and refuses another one with the field
  that differs. What only an answer itself shows, such as an optional field that is left out, is checked there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from pydantic_core import ValidationError

from agentkit.core.errors import ModelRetry, ToolDefinitionError
from agentkit.core.json import encode, object_of
from agentkit.runs.output import Output, OutputValidator, answering, json_object_output, output_from_schema
from agentkit.runs.plan import Plan
from agentkit.server.errors import HttpError, invalid_field
from agentkit.server.schema_fit import misfit
from agentkit.tools.results import invalid_arguments_text
from agentkit.tools.toolbox import Toolbox

T = TypeVar("T")

_FIELD = "response_format"
_PATH = f"{_FIELD}.json_schema"
_TYPES = "text, json_object or json_schema"


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """A form of answers: a JSON object or, with a schema, JSON that fits it."""

    schema: Mapping[str, object] | None = None
    description: str = ""
    strict: bool = False


def parse_response_format(data: object) -> ResponseFormat | None:
    """Read the field; `None` is a text."""
    match object_of(data).get("type"):
        case "text":
            return None
        case "json_object":
            return ResponseFormat()
        case "json_schema":
            pass
        case _:
            raise invalid_field(_FIELD, f"response_format must be an object with the type {_TYPES}")
    fields = object_of(object_of(data).get("json_schema"))
    schema, strict, description = fields.get("schema"), fields.get("strict"), fields.get("description")
    if not isinstance(schema, dict):
        raise invalid_field(f"{_PATH}.schema", f"{_PATH}.schema must be a JSON Schema")
    if not isinstance(strict, bool | None):
        raise invalid_field(f"{_PATH}.strict", f"{_PATH}.strict must be true or false")
    if not isinstance(description, str | None):
        raise invalid_field(f"{_PATH}.description", f"{_PATH}.description must be a string")
    return ResponseFormat(cast("dict[str, object]", schema), description or "", strict is True)


def with_format(plan: Plan, wanted: ResponseFormat | None, taken: frozenset[str]) -> Plan:
    """Return an agent's plan whose answers have the form that a client wants.

    Args:
        plan: The agent's plan.
        wanted: The form; `None` for the agent's own.
        taken: The names of tools that are in use.

    Raises:
        HttpError: If the schema cannot be enforced, or the answers of the agent's own type do not fit it.
    """
    if wanted is None:
        return plan
    if plan.output is not None:
        return _with_output(plan, _fitting(plan.output, wanted))
    if not plan.policy.can_answer:
        raise invalid_field(_FIELD, "this agent's answer is the result of a tool, which has a form of its own")
    if wanted.schema is None:
        return plan._replace(output=_guarded(json_object_output(), plan), stop_at=frozenset[str]())
    try:
        output = output_from_schema(wanted.schema, taken, wanted.description, strict=wanted.strict)
    except ToolDefinitionError as error:
        raise invalid_field(f"{_PATH}.schema", f"the schema cannot be enforced: {error}"[:300]) from None
    policy = answering(plan.policy, output.tool.name, plan.max_corrections)
    return _with_output(plan._replace(policy=policy, stop_at=frozenset({output.tool.name})), _guarded(output, plan))


def _guarded(output: Output[T], plan: Plan) -> Output[T]:
    """Return an output that the agent's validators of texts check too: they get its JSON."""
    for validator in plan.hooks.text_validators:
        output = output.checked_by(partial(_check_text, validator))
    return output


def _check_text(validator: OutputValidator, answer: object) -> object:
    return validator(encode(answer).decode())


def _with_output(plan: Plan, output: Output[object]) -> Plan:
    final = output.final
    tools = [tool for tool in plan.toolbox if final is None or tool.name != final.name]
    return plan._replace(output=output, toolbox=Toolbox([*tools, *([] if final is None else [final])]))


def _fitting(output: Output[object], wanted: ResponseFormat) -> Output[object]:
    """Return a typed agent's output for a client's schema, which is checked again where an answer is there."""
    schema = {"type": "object"} if wanted.schema is None else wanted.schema
    if found := misfit(output.schema, schema):
        where, why = found
        raise _refusal(wanted, where, why)
    try:
        check = output_from_schema(schema)
    except ToolDefinitionError as error:
        raise invalid_field(f"{_PATH}.schema", f"the schema cannot be enforced: {error}"[:300]) from None

    def fits(answer: object) -> None:
        try:
            check.read(encode({"answer": answer}).decode())
        except ValidationError as error:
            raise ModelRetry(invalid_arguments_text(error, "the answer")) from None

    return output.checked_by(fits)


def _refusal(wanted: ResponseFormat, where: str, why: str) -> HttpError:
    path = _FIELD if wanted.schema is None else f"{_PATH}.schema{where}"
    text = f"this agent has answers of a type of its own, which {path} does not take: {why}"
    return invalid_field(path, text)
