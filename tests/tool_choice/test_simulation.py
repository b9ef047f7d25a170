"""The analysis of policies agrees with what runs can come to.

`AGENTKIT_LAWS=10000` checks as many random policies.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agentkit import AssistantMessage, Message, PolicyContradiction, State, ToolCall, ToolMessage, UserMessage
from agentkit.core.choice import ToolChoice
from agentkit.core.messages import Outcome
from agentkit.tool_choice import (
    Call,
    Policy,
    Report,
    analyse,
    auto,
    budget,
    each,
    first,
    force,
    machine,
    must_follow,
    never_after,
    none,
    only,
    phase,
    prerequisite,
    required,
    sequence,
    until_called,
)
from agentkit.tool_choice.exploration import USER, counted, most_open, parts_of
from agentkit.tool_choice.policy import ANY_RESULT
from tests.tool_choice import EXAMPLES, GO, NAMES, drawn

MOST_CALLS = 8
# What `relevant` offers depends on words, a repetition on arguments, and a rule of one's own has too many states.
known = drawn(EXAMPLES.keys() - {"no_repeat", "relevant", "rule", "when"})


class Walk:
    """A history that grows by replies, and what the policy says of it."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.most_open = policy, most_open(policy)
        self.messages: tuple[Message, ...] = (GO,)
        self.calls = 0

    @property
    def state(self) -> State:
        return State.of(self.messages)

    @property
    def memory(self) -> tuple[Hashable, ...]:
        return tuple([counted(part.memory(self.state), self.most_open) for part in parts_of(self.policy)])

    @property
    def choice(self) -> ToolChoice | None:
        """What the next request lets the model do; `None` for a contradiction, or if no call that it asks for may run."""
        try:
            choice = self.policy(self.state)
        except PolicyContradiction:
            return None
        firm = choice.mode in ("required", "tool")
        return None if firm and not any(self.runs([name], choice) for name in NAMES) else choice

    def runs(self, names: Sequence[str], choice: ToolChoice) -> list[str]:
        """Return those of the calls of a reply that may run."""
        pending: list[Call] = []
        for name in names:
            number = self.calls + len(pending)
            call = Call(name, {"n": number}, ToolCall(f"c{number}", name, f'{{"n": {number}}}'))
            state = replace(self.state, pending=tuple(pending))
            if choice.permits(name) and self.policy.judge(call, state).kind != "deny":
                pending.append(call)
        return [call.name for call in pending]

    def reply(self, made: list[tuple[str, Outcome, str]], arguments: str | None = None) -> None:
        calls = [
            ToolCall(f"c{self.calls + at}", name, arguments or f'{{"n": {self.calls + at}}}')
            for at, (name, _, _) in enumerate(made)
        ]
        answers = [
            ToolMessage(call.id, result, outcome) for call, (_, outcome, result) in zip(calls, made, strict=True)
        ]
        self.messages = (*self.messages, AssistantMessage(tool_calls=tuple(calls)), *answers)
        self.calls += len(made)

    def user(self) -> None:
        self.messages = (*self.messages, UserMessage("and now?"))


def check_it_replays(policy: Policy, report: Report) -> None:
    """Each state, and so each contradiction, is reached by the history that the report names."""
    for node in report.nodes:
        walk = Walk(policy)
        for label in node.path:
            choice = walk.choice
            assert choice is not None
            if label == USER:
                assert choice.mode in ("auto", "none")
                walk.user()
                continue
            made: list[tuple[str, Outcome, str]] = []
            for word in label.split("+"):
                name, _, end = word.partition(":")
                known_end = end in ("ok", "error", "refused")
                made.append((name, end if known_end else "ok", "" if known_end else end))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            names = [name for name, outcome, _ in made if outcome != "refused"]
            assert report.assumed or walk.runs(names, choice) == names
            walk.reply(made, choice.arguments)
        assert report.assumed or walk.choice == node.choice
        assert walk.memory == node.memory


LATER = machine("begin", begin=phase(force("a"), "wait"), wait=phase(required, "end", on="c"), end=each("b", "n", "a"))
AGAIN = machine("begin", begin=phase(each("b", "n", "a"), "end"), end=phase(force("c"), "begin"))
BRANCH = machine(
    "begin",
    begin=phase(required, {"x": "one", "y": "other"}, on="a"),
    one=auto,
    other=budget(2, of="b", scope="conversation"),
)
USED = machine(
    "begin",
    begin=phase(each("b", "n", "a", then=prerequisite("a", "b", each=True, scope="conversation")), "end", on="a"),
    end=auto,
)
TURNS = machine("begin", begin=phase(only("b"), "end", on="b"), end=budget(2, of="b", scope="conversation"))


@example(first(only("b", policy=never_after("b", "a", scope="conversation"))))
@example(sequence("a", then=never_after("b", "c", scope="conversation")))
@example(until_called("b", budget(2, of="a", scope="conversation")))
@example(budget(6) & prerequisite("b", "a", each=True))
@example(budget(6) & must_follow("a", "b"))
@example(LATER)
@example(AGAIN)
@example(TURNS)
@example(BRANCH)
@example(USED)
@given(known)
def test_each_state_is_reached(policy: Policy) -> None:
    check_it_replays(policy, analyse(policy, NAMES, most=60))


@given(known, st.data())
def test_no_other_state_is_reached_and_dead_tools_never_run(policy: Policy, data: st.DataObject) -> None:
    report = analyse(policy, NAMES)
    assume(report.complete)
    nodes = {node.memory: node for node in report.nodes}
    walk = Walk(policy)
    while walk.calls < MOST_CALLS:
        node = nodes[walk.memory]
        choice = walk.choice
        assert report.assumed or choice == node.choice
        if choice is None:
            return
        if policy.remembers_turns and choice.mode in ("auto", "none") and data.draw(st.integers(0, 3)) == 0:
            walk.user()
            continue
        names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=1 if choice.arguments else 2))
        runs = walk.runs(names, choice)
        assert not report.dead & set(runs)
        if choice.arguments is not None and not runs:
            return
        made: list[tuple[str, Outcome, str]] = [
            (name, *data.draw(st.sampled_from(ends(policy, name)))) for name in runs
        ] or [(names[0], "refused", "Not run.")]
        walk.reply(made, choice.arguments)


def ends(policy: Policy, name: str) -> list[tuple[Outcome, str]]:
    results = sorted(policy.results(name))
    return [("error", ""), *[("ok", result) for result in results + ([] if ANY_RESULT in results else [""])]]


@pytest.mark.parametrize("kind", sorted(EXAMPLES.keys() - {"relevant"}))
def test_each_word(kind: str) -> None:
    @settings(deadline=None, max_examples=3)
    @given(EXAMPLES[kind](st.sampled_from([auto, none, required])))
    def check(policy: Policy) -> None:
        check_it_replays(policy, analyse(policy, NAMES, most=40))

    check()
