"""States from compact lists, and random policies."""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from hypothesis import strategies as st

from agentkit import AssistantMessage, Message, State, Tool, ToolCall, ToolChoice, ToolMessage, UserMessage
from agentkit.core.choice import Mode
from agentkit.core.messages import Outcome
from agentkit.tool_choice import (
    Call,
    Policy,
    all_of,
    any_of,
    auto,
    before_answer,
    both,
    budget,
    cooldown,
    each,
    fallback,
    first,
    fixed,
    force,
    from_results,
    given,
    machine,
    must_follow,
    never_after,
    no_repeat,
    none,
    one_at_a_time,
    only,
    permitted,
    phase,
    prerequisite,
    relevant,
    required,
    rule,
    sequence,
    until_called,
    when,
    where,
)
from agentkit.tool_choice.policy import Scope

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
            ToolCall(f"c{number}_{at}", name, arguments[0] if arguments else "{}")
            for at, (name, _, *arguments) in enumerate(made)
        ]
        messages.append(AssistantMessage(tool_calls=tuple(calls)))
        for call, (_, outcome, *_) in zip(calls, made, strict=True):
            if outcome is not None:
                messages.append(ToolMessage(call.id, "the result", outcome))
    return tuple(messages)


def state(*replies: Made | list[Made]) -> State:
    return State.of(turn(*replies))


def late(state: State) -> bool:
    return state.step > 1


def failed(state: State) -> bool:
    return any(record.outcome == "error" for record in state.calls)


names = st.sampled_from(NAMES)
several = st.lists(names, min_size=1, max_size=3)
two = st.permutations(NAMES).map(lambda tools: tools[:2])
weights = st.dictionaries(names, st.integers(0, 3))
scopes: st.SearchStrategy[Scope] = st.sampled_from(["turn", "conversation"])
Parts: TypeAlias = st.SearchStrategy[Policy]


def _only(tools: list[str], policy: Policy) -> Policy:
    return only(*set(tools), policy=policy)


def _rule(one: Policy, other: Policy) -> Policy:
    return rule(lambda state: one if late(state) else other)


def _sequence(tools: list[str], known: bool, then: Policy, scope: Scope) -> Policy:
    first, *others = tools
    return sequence(_given(first) if known else first, *others, then=then, scope=scope)


@st.composite
def _narrowed(draw: st.DrawFn) -> Policy:
    modes: list[Mode] = ["auto", "required", "none"]
    tools, withheld = draw(st.none() | st.frozensets(names)), draw(st.frozensets(names))
    return fixed(ToolChoice(draw(st.sampled_from(modes)), None, tools, withheld))


def _until(tool: str, policy: Policy) -> Policy:
    # One that forces another tool is refused, and rightly so; it can be left only by what came before.
    return until_called(tool, force(tool) if isinstance(policy, force) else policy)


def _of_two(kind: Callable[..., Policy], **options: st.SearchStrategy[Any]) -> Parts:
    """Policies of two tools and these options."""

    def made(tools: list[str], options: dict[str, Any]) -> Policy:
        return kind(*tools, **options)

    return st.builds(made, two, st.fixed_dictionaries(options))


def _first(result: object) -> list[object]:
    return [result]


def _from_results(tool: str, of: str) -> Policy:
    return from_results(tool, "n", of, pick=_first)


def _given(tool: str) -> given:
    return given(tool, n=1)


def _machine(tool: str, one: Policy, other: Policy) -> Policy:
    return machine("begin", begin=phase(one, "end", on=tool), end=other)


def _allows(deps: object, tool: Tool) -> bool:
    return deps is None or tool.name != "c"


def _small(call: Call, state: State) -> bool:
    return bool(call.arguments.get("n", 0) < 2)


EXAMPLES: dict[str, Callable[[Parts], Parts]] = {
    "all_of": lambda _: _of_two(all_of, scope=scopes),
    "any_of": lambda _: _of_two(any_of, scope=scopes),
    "before_answer": lambda _: st.builds(before_answer, names, scope=scopes),
    "both": lambda part: st.lists(part, min_size=1, max_size=3).map(lambda parts: both(*parts)),
    "budget": lambda _: st.one_of(
        st.builds(budget, st.integers(0, 4), st.none() | names, scope=scopes),
        st.builds(budget, st.integers(0, 4), weights=weights),
    ),
    "cooldown": lambda _: st.builds(cooldown, names, st.integers(1, 3), scope=scopes),
    "each": lambda part: st.builds(each, st.just("b"), st.just("n"), st.just("a"), part),
    "fallback": lambda _: _of_two(fallback, after=st.integers(1, 3)),
    "first": lambda part: st.builds(first, part, part),
    "fixed": lambda _: _narrowed(),
    "force": lambda _: st.builds(force, names, st.booleans()),
    "from_results": lambda _: _of_two(_from_results),
    "given": lambda _: st.builds(_given, names),
    "machine": lambda part: st.builds(_machine, names, part, part),
    "must_follow": lambda _: _of_two(must_follow, scope=scopes),
    "never_after": lambda _: _of_two(never_after, scope=scopes),
    "no_repeat": lambda _: st.builds(no_repeat, st.integers(1, 3)),
    "one_at_a_time": lambda _: st.just(one_at_a_time()),
    "only": lambda part: st.builds(_only, several, part),
    "permitted": lambda _: st.just(permitted(_allows)),
    "phase": lambda part: st.builds(phase, part),
    "prerequisite": lambda _: _of_two(prerequisite, each=st.booleans(), scope=scopes),
    "relevant": lambda _: st.builds(relevant, st.integers(1, 3)),
    "rule": lambda part: st.builds(_rule, part, part),
    "sequence": lambda part: st.builds(_sequence, several, st.booleans(), part, scopes),
    "until_called": lambda part: st.builds(_until, names, part),
    "when": lambda part: st.builds(when, st.sampled_from([late, failed]), part, part),
    "where": lambda _: st.builds(where, names, st.just(_small), st.sampled_from(["deny", "ask", "too large"])),
}
"""One row for each policy, which feeds all the laws: how to draw one, given how to draw its parts."""


def drawn(kinds: Iterable[str]) -> Parts:
    rows = [EXAMPLES[kind] for kind in kinds]
    simple: Parts = st.sampled_from([auto, none, required])
    return st.recursive(
        simple | st.one_of([row(simple) for row in rows]),
        lambda part: st.one_of([row(part) for row in rows]),
        max_leaves=5,
    )


policies = drawn(EXAMPLES)
plain_policies = drawn(EXAMPLES.keys() - {"from_results", "permitted", "rule", "when", "where"})
"""Policies that are values through and through: no function of a user's is in them."""


def _state(replies: list[Any]) -> State:
    return state(*replies)


_made: st.SearchStrategy[Made] = st.tuples(
    names, st.sampled_from(OUTCOMES), st.sampled_from(["{}", '{"n":1}', '{"n":1.0}'])
)
states = st.lists(st.lists(_made, min_size=1, max_size=3), max_size=6).map(_state)
