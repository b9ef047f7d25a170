"""States from compact lists, and random policies."""

from typing import Any, TypeAlias

from hypothesis import strategies as st

from agentkit import AssistantMessage, Message, State, ToolCall, ToolChoice, ToolMessage, UserMessage
from agentkit.core.choice import Mode
from agentkit.core.messages import Outcome
from agentkit.tool_choice import (
    Policy,
    auto,
    before_answer,
    both,
    budget,
    first,
    fixed,
    force,
    no_repeat,
    none,
    only,
    prerequisite,
    required,
    rule,
    sequence,
    until_called,
    when,
)

Made: TypeAlias = tuple[str, Outcome | None] | tuple[str, Outcome | None, str]
"""A call, how it ended (`None`: it has no answer yet), and its arguments."""

GO = UserMessage("go")
NAMES = ("a", "b", "c")
OUTCOMES: tuple[Outcome, ...] = ("ok", "error", "refused", "cancelled")


def turn(*replies: Made | list[Made]) -> tuple[Message, ...]:
    """A user message and replies of one call, or of a list of calls, each with its answers."""
    messages: list[Message] = [GO]
    for number, reply in enumerate(replies):
        made = reply if isinstance(reply, list) else [reply]
        calls = [
            ToolCall(f"c{number}_{at}", each[0], each[2] if len(each) > 2 else "{}") for at, each in enumerate(made)
        ]
        messages.append(AssistantMessage(tool_calls=tuple(calls)))
        for call, each in zip(calls, made, strict=True):
            if each[1] is not None:
                messages.append(ToolMessage(call.id, "what came of it", each[1]))
    return tuple(messages)


def state(*replies: Made | list[Made]) -> State:
    return State.of(turn(*replies))


def late(state: State) -> bool:
    return state.step > 1


def failed(state: State) -> bool:
    return any(record.outcome == "error" for record in state.calls)


names = st.sampled_from(NAMES)
several = st.lists(names, min_size=1, max_size=3)


@st.composite
def _narrowed(draw: st.DrawFn) -> Policy:
    modes: list[Mode] = ["auto", "required", "none"]
    tools, withheld = draw(st.none() | st.frozensets(names)), draw(st.frozensets(names))
    return fixed(ToolChoice(draw(st.sampled_from(modes)), None, tools, withheld))


def _sequence(tools: list[str], then: Policy) -> Policy:
    return sequence(*tools, then=then)


def _only(tools: list[str], policy: Policy) -> Policy:
    return only(*tools, policy=policy)


def _until(tool: str, policy: Policy) -> Policy:
    # One that forces another tool is refused, and rightly so; it can be left only by what came before.
    return until_called(tool, force(tool) if isinstance(policy, force) else policy)


def _rule(one: Policy, other: Policy) -> Policy:
    return rule(lambda state: one if late(state) else other)


leaves: st.SearchStrategy[Policy] = st.one_of(
    st.sampled_from([auto, none, required]),
    _narrowed(),
    st.builds(force, names),
    st.builds(before_answer, names),
    st.permutations(NAMES).map(lambda each: prerequisite(*each[:2])),
    st.builds(budget, st.integers(0, 4)),
    st.builds(no_repeat, st.integers(1, 3)),
    several.map(lambda each: sequence(*each)),
)


def _plain(inner: st.SearchStrategy[Policy]) -> st.SearchStrategy[Policy]:
    return st.one_of(
        st.builds(first, inner, inner),
        st.builds(_sequence, several, inner),
        st.builds(_until, names, inner),
        st.builds(_only, several, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: both(*each)),
    )


def _any(inner: st.SearchStrategy[Policy]) -> st.SearchStrategy[Policy]:
    return st.one_of(
        _plain(inner),
        st.builds(when, st.sampled_from([late, failed]), inner, inner),
        st.builds(_rule, inner, inner),
    )


plain_policies = st.recursive(leaves, _plain, max_leaves=5)
"""Policies that are values through and through: no function of a user's is in them."""

policies = st.recursive(leaves, _any, max_leaves=5)


def _state(replies: list[Any]) -> State:
    return state(*replies)


_made: st.SearchStrategy[Made] = st.tuples(
    names, st.sampled_from(OUTCOMES), st.sampled_from(["{}", '{"n":1}', '{"n":1.0}'])
)
states = st.lists(st.lists(_made, min_size=1, max_size=3), max_size=6).map(_state)
