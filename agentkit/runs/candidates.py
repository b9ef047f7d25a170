"""Several answers to one request, as `Settings(n=5)` asks for them: those that can be used, and the one that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from agentkit.core.chat import ChatResponse, Choice
from agentkit.core.choice import ToolChoice
from agentkit.core.errors import ConfigurationError
from agentkit.core.finish_reasons import ending_of
from agentkit.core.messages import AssistantMessage
from agentkit.runs.output import Output
from agentkit.tools.argument_repair import mended_arguments, mended_name
from agentkit.tools.schema.signature import name_of
from agentkit.tools.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of several answers to a request, and one that can be used.

    Attributes:
        message: What the model said.
        index: Its place in the reply, from 0.
        finish_reason: Why the model stopped.
        value: What it comes to: the text; the typed answer, validated; or for each call the name of the tool and the
            validated arguments.
    """

    message: AssistantMessage
    index: int
    finish_reason: str | None
    value: Any = field(hash=False)


Selector: TypeAlias = Callable[[Sequence[Candidate]], Candidate]
"""Gives one of the candidates, of which there is at least one, in the order of the reply. It is sync and quick."""


def first_valid(candidates: Sequence[Candidate]) -> Candidate:
    """Pick the first answer that can be used."""
    return candidates[0]


def majority(candidates: Sequence[Candidate]) -> Candidate:
    """Pick what most answers say; if several things are said equally often, what is said first.

    Calls say the same if they are of the same tools, in the same order, with the same arguments. What is left out is
    not the same as its default. Typed answers say the same if they are equal: of a dataclass,
    `field(compare=False)` leaves a field out of that. Texts say the same but for white space and upper and lower case,
    so they should be short; where they are long, use a typed answer or a function of your own.
    """
    meanings = [_meaning(each) for each in candidates]
    counts = [meanings.count(each) for each in meanings]
    return candidates[counts.index(max(counts))]


def _meaning(candidate: Candidate) -> object:
    value: object = candidate.value
    if isinstance(value, str) and value == candidate.message.content:
        return " ".join(value.split()).casefold()
    return _told_apart(value)


def _told_apart(value: object) -> object:
    """Give a value that differs where JSON does: to Python, `True` is 1."""
    match value:
        case bool():
            return bool, value
        case dict():
            return {key: _told_apart(each) for key, each in cast("dict[object, object]", value).items()}
        case list() | tuple():
            return [_told_apart(each) for each in cast("Sequence[object]", value)]
        case _:
            return value


def picked(
    reply: ChatResponse, choice: ToolChoice, toolbox: Toolbox, output: Output[Any] | None, selector: Selector
) -> ChatResponse:
    """Reduce a reply to one answer.

    An answer can be used if it obeys the tool choice, is whole and says something, its calls are of known tools with
    arguments that fit, and a typed answer fits its type.

    Args:
        reply: What the model said. If that is one answer, it is given back as it is.
        choice: What the model was allowed to do.
        toolbox: The tools.
        output: What the answer is to be, if not a text.
        selector: Is handed the answers that can be used, and gives one of them.

    Returns:
        The reply with that answer alone; with its first one, if none can be used.

    Raises:
        ConfigurationError: If `selector` raises, or gives anything but one of the candidates.
    """
    if len(reply.choices) == 1:
        return reply
    found = [_candidate(at, each, choice, toolbox, output) for at, each in enumerate(reply.choices)]
    candidates = tuple([each for each in found if each is not None])
    at = _chosen(candidates, selector).index if candidates else 0
    return replace(reply, choices=(reply.choices[at],))


def _chosen(candidates: tuple[Candidate, ...], selector: Selector) -> Candidate:
    try:
        chosen = selector(candidates)
    except Exception as error:
        raise ConfigurationError(f"selector={name_of(selector)} raised {type(error).__name__}: {error}") from error
    if not any(chosen is each for each in candidates):
        raise ConfigurationError(
            f"selector={name_of(selector)} must give one of the {len(candidates)} candidates it was handed, not {chosen!r:.200}"
        )
    return chosen


def _candidate(
    index: int, said: Choice, choice: ToolChoice, toolbox: Toolbox, output: Output[Any] | None
) -> Candidate | None:
    """Give an answer as a candidate, if it can be used."""
    message = named(said.message, toolbox.names)
    says = message.tool_calls or (message.content or "").strip()
    if not says or ending_of(said.finish_reason) != "whole" or violation(message, choice, toolbox.names):
        return None
    try:
        value = _value(message, toolbox, output)
    except Exception:  # noqa: BLE001 (it does not fit; a type's own validator may raise anything)
        return None
    return Candidate(said.message, index, said.finish_reason, value)


def _value(message: AssistantMessage, toolbox: Toolbox, output: Output[Any] | None) -> object:
    """Read what an answer comes to; raises if it does not fit, or there is no such tool."""
    calls = message.tool_calls
    if not calls:
        text = message.content or ""
        return text if output is None else output.read(text)
    if output is not None and output.final is not None and [call.name for call in calls] == [output.final.name]:
        return output.read(calls[0].arguments)
    tools = {each.name: each.arguments for each in toolbox}
    return tuple([(call.name, mended_arguments(tools[call.name], call.arguments)[0]) for call in calls])


def named(message: AssistantMessage, names: frozenset[str]) -> AssistantMessage:
    """Give a reply in which each call has the name of the tool that it means, as `functions.search` does."""
    if all(call.name in names for call in message.tool_calls):
        return message
    calls = [replace(call, name=mended_name(call.name, names) or call.name) for call in message.tool_calls]
    return replace(message, tool_calls=tuple(calls))


def violation(message: AssistantMessage, choice: ToolChoice, names: frozenset[str]) -> str | None:
    """Say how a reply broke the choice, if it did.

    Args:
        message: The reply, its calls with the names of their tools.
        choice: What it was allowed to do.
        names: Those of the tools.
    """
    called = [call.name for call in message.tool_calls]
    if choice.mode == "none":
        return "it called a tool where none may be called" if called else None
    if choice.mode == "tool" and called != [choice.tool]:
        if set(called) == {choice.tool}:
            return f"it called {choice.tool} {len(called)} times at once"
        did = f"called {', '.join(called)}" if called else "answered"
        return f"it {did} where {choice.tool} must be called"
    if choice.mode == "required" and not called:
        return "it answered where a tool must be called"
    hidden = [name for name in called if name in names and not choice.offers(name)]
    return f"it called {', '.join(hidden)}, which is not offered now" if hidden else None
