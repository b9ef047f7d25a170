"""Several answers to one request, as `Settings(n=5)` asks for them: find the usable ones and select one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.finish_reasons import ending_of
from agentkit.core.messages import AssistantMessage
from agentkit.runs.finish import with_tool_names
from agentkit.runs.output import Output
from agentkit.tools.argument_repair import parse_arguments
from agentkit.tools.schema.callables import callable_name
from agentkit.tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Candidate:
    """A usable answer among several to one request.

    Attributes:
        message: The model's message.
        index: Its place in the reply, from 0.
        finish_reason: Why the model stopped.
        value: The text; the validated typed answer; or the tools' names and the validated arguments of the calls.
    """

    message: AssistantMessage
    index: int
    finish_reason: str | None
    value: Any = field(hash=False)


Selector: TypeAlias = Callable[[Sequence[Candidate]], Candidate]
"""Returns one of the candidates: at least one, in the order of the reply. It is sync, so it must be quick."""


def first_valid(candidates: Sequence[Candidate]) -> Candidate:
    """Select the first usable answer."""
    return candidates[0]


def majority(candidates: Sequence[Candidate]) -> Candidate:
    """Select what most answers say; on a tie, the one that comes first.

    - Calls are equal if they call the same tools, in the same order, with the same arguments. An argument that was left
      out differs from its default.
    - Typed answers are compared with `==`. `field(compare=False)` excludes a dataclass's field.
    - Texts are equal up to white space and case, so they should be short. For long ones use a typed answer or a
      selector of your own.
    """
    keys = [_comparison_key(candidate) for candidate in candidates]
    counts = [keys.count(key) for key in keys]
    return candidates[counts.index(max(counts))]


def _comparison_key(candidate: Candidate) -> object:
    value: object = candidate.value
    if isinstance(value, str) and value == candidate.message.content:
        return " ".join(value.split()).casefold()
    return _with_typed_booleans(value)


def _with_typed_booleans(value: object) -> object:
    """Return a value in which `True` differs from 1, as it does in JSON."""
    match value:
        case bool():
            return bool, value
        case dict():
            return {key: _with_typed_booleans(item) for key, item in cast("dict[object, object]", value).items()}
        case list() | tuple():
            return [_with_typed_booleans(item) for item in cast("Sequence[object]", value)]
        case _:
            return value


def select_candidate(
    reply: ChatResponse, choice: ToolChoice, toolbox: Toolbox, output: Output[Any] | None, selector: Selector
) -> ChatResponse:
    """Reduce a reply to the selected answer, or to its first one if none is usable.

    An answer is usable if it obeys the tool choice, is whole, says something, calls only known tools with valid
    arguments, and if a typed answer validates.
    """
    if len(reply.choices) == 1:
        return reply
    answers = [_candidate(index, answer, choice, toolbox, output) for index, answer in enumerate(reply.choices)]
    candidates = tuple([candidate for candidate in answers if candidate is not None])
    index = _selected(candidates, selector).index if candidates else 0
    return replace(reply, choices=(reply.choices[index],))


def _selected(candidates: tuple[Candidate, ...], selector: Selector) -> Candidate:
    try:
        selected = selector(candidates)
    except Exception as error:
        name = callable_name(selector)
        raise ConfigurationError(f"selector={name} raised {type(error).__name__}: {error}") from error
    if not any(selected is candidate for candidate in candidates):
        raise ConfigurationError(
            f"selector={callable_name(selector)} must return one of the {len(candidates)} candidates it was handed, "
            f"not {selected!r:.200}"
        )
    return selected


def _candidate(
    index: int, answer: Choice, choice: ToolChoice, toolbox: Toolbox, output: Output[Any] | None
) -> Candidate | None:
    """Return an answer as a candidate, or `None` if it is not usable."""
    message = with_tool_names(answer.message, toolbox.names)
    called = [call.name for call in message.tool_calls]
    empty = not (called or (message.content or "").strip())
    if empty or ending_of(answer.finish_reason) != "whole" or choice.violated_by(called, toolbox.names):
        return None
    try:
        value = _value(message, toolbox, output)
    except Exception:  # noqa: BLE001 (it is invalid; a type's own validator may raise anything)
        return None
    return Candidate(answer.message, index, answer.finish_reason, value)


def _value(message: AssistantMessage, toolbox: Toolbox, output: Output[Any] | None) -> object:
    """Return what an answer comes to; raise if it is invalid or calls an unknown tool."""
    calls = message.tool_calls
    if not calls:
        text = message.content or ""
        return text if output is None else output.read(text)
    if output is not None and output.final is not None and [call.name for call in calls] == [output.final.name]:
        return output.read(calls[0].arguments)
    arguments = {tool.name: tool.arguments for tool in toolbox}
    return tuple([(call.name, parse_arguments(arguments[call.name], call.arguments)[0]) for call in calls])
