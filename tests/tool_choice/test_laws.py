"""The laws of policies, over random policies and histories; and of runs, over random models."""

from collections.abc import Sequence
from dataclasses import replace
from operator import eq
from typing import Any, TypeAlias

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentkit import (
    Agent,
    AssistantMessage,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    Event,
    LimitReached,
    Limits,
    PolicyContradiction,
    Result,
    State,
    StepFailed,
    StepFinished,
    Tool,
    Toolbox,
    ToolCall,
    ToolChoice,
    ToolChoiceIgnored,
    tool_choice,
)
from agentkit.agent.agent import Agent as AgentClass
from agentkit.core.chat import Choice
from agentkit.core.growing import GrowingTuple, grown
from agentkit.core.model import OnChunk
from agentkit.core.state import CallRecord, Step
from agentkit.tool_choice import (
    Call,
    Policy,
    Verdict,
    auto,
    before_answer,
    both,
    budget,
    first,
    force,
    relevant,
    required,
    sequence,
)
from agentkit.tool_choice.analysis import refusal
from tests.endpoint import fault_in
from tests.tool_choice import EXAMPLES, NAMES, plain_policies, policies, states

CONTRADICTION = "contradiction"
Outcome: TypeAlias = ToolChoice | str


def outcome(policy: Policy, state: State) -> Outcome:
    try:
        return policy(state)
    except PolicyContradiction:
        return CONTRADICTION


def allowed_calls(choice: ToolChoice) -> set[str]:
    if choice.mode == "none":
        return set()
    return {name for name in NAMES if choice.offers(name) and choice.tool in (None, name)}


def allows_answer(choice: ToolChoice) -> bool:
    return choice.mode in ("auto", "none")


def test_every_policy_has_a_row() -> None:
    public = [getattr(tool_choice, name) for name in tool_choice.__all__]
    classes = {kind.__name__ for kind in public if isinstance(kind, type) and issubclass(kind, Policy)}
    assert EXAMPLES.keys() == classes - {"Policy", "Remembering"}


@given(policies, states)
def test_what_is_remembered_of_a_growing_history_is_what_is_read_in_a_whole_one(policy: Policy, state: State) -> None:
    # Calls that grow, as those of a run do, let policies go on from where they stopped.
    growing = [replace(state, calls=GrowingTuple[CallRecord]())]
    for record in state.calls:
        growing.append(replace(state, calls=grown(growing[-1].calls, [record], eq)))
    for longer in (*growing, *growing[::-1]):
        whole = replace(longer, calls=tuple(longer.calls))
        assert outcome(policy, longer) == outcome(policy, whole)
        assert policy.memory(longer) == policy.memory(whole)


@given(policies, policies, states)
def test_the_sides_may_be_swapped(one: Policy, other: Policy, state: State) -> None:
    assert outcome(one & other, state) == outcome(other & one, state)


@given(policies, policies, policies, states)
def test_brackets_do_not_matter(one: Policy, other: Policy, third: Policy, state: State) -> None:
    assert outcome((one & other) & third, state) == outcome(one & (other & third), state)


@given(policies, states)
def test_twice_is_once(policy: Policy, state: State) -> None:
    assert outcome(policy & policy, state) == outcome(both(policy), state) == outcome(policy, state)


@given(policies, policies, states)
def test_both_is_never_more_permissive_than_either(one: Policy, other: Policy, state: State) -> None:
    choice = outcome(one & other, state)
    if not isinstance(choice, ToolChoice):
        return
    sides = [outcome(one, state), outcome(other, state)]
    silent = any(isinstance(side, ToolChoice) and side.mode == "none" for side in sides)
    assert (choice.mode == "none") is silent
    for side in sides:
        if isinstance(side, ToolChoice):
            assert allowed_calls(choice) <= allowed_calls(side)
            assert silent or allows_answer(side) or not allows_answer(choice)
            assert not (side.firm and allows_answer(choice))
        else:  # only that nothing is called at all can mend what one side wants
            assert silent


def verdict_of(policy: Policy, name: str, state: State) -> Verdict:
    """The verdict on the second of two equal calls in a reply."""
    call = Call(name, {"n": 1}, ToolCall("c", name, '{"n": 1}'))
    return policy.judge(call, replace(state, pending=(call,)))


@given(policies, policies, states, st.sampled_from(NAMES))
def test_the_strictest_verdict_holds(one: Policy, other: Policy, state: State, name: str) -> None:
    both_say, sides = verdict_of(one & other, name, state), [verdict_of(side, name, state) for side in (one, other)]
    strict = ("allow", "ask", "deny")
    assert strict.index(both_say.kind) == max([strict.index(side.kind) for side in sides])
    assert all(side.reason in both_say.reason for side in sides if side.kind == both_say.kind)
    assert bool(both_say.by) is (both_say.kind != "allow")
    twice = verdict_of(one & one, name, state)
    assert (twice.kind, twice.reason) == (sides[0].kind, sides[0].reason)


@given(policies, policies, states)
def test_a_contradiction_names_a_part_of_each_side(one: Policy, other: Policy, state: State) -> None:
    if CONTRADICTION in (outcome(one, state), outcome(other, state)) or outcome(one & other, state) != CONTRADICTION:
        return
    with pytest.raises(PolicyContradiction) as caught:
        (one & other)(state)
    for side in (both(one), both(other)):
        assert any(repr(part) in str(caught.value) for part in side.policies)


@given(policies, states)
def test_what_a_policy_says_of_itself_holds(policy: Policy, state: State) -> None:
    choice = outcome(policy, state)
    if isinstance(choice, ToolChoice):
        assert policy.can_answer or not allows_answer(choice)
        assert policy.silences or choice.mode != "none"


@given(plain_policies, states)
def test_a_policy_is_the_value_that_its_code_makes(policy: Policy, state: State) -> None:
    names = {name: getattr(tool_choice, name) for name in tool_choice.__all__}
    again: Any = eval(repr(policy), names)  # noqa: S307 (our own text)
    assert again == policy
    assert hash(again) == hash(policy)
    assert outcome(again, state) == outcome(policy, state)


@given(plain_policies, states)
def test_a_policy_names_the_tools_that_it_speaks_of(policy: Policy, state: State) -> None:
    choice = outcome(policy, state)
    if isinstance(choice, ToolChoice):
        called = {record.call.name for record in state.calls}
        assert ({choice.tool} - {None}) | (choice.tools or set()) <= policy.tools
        assert choice.withheld <= policy.tools | called


@given(policies, states)
def test_everything_is_read_from_the_messages(policy: Policy, state: State) -> None:
    assert outcome(policy, State.of(state.messages)) == outcome(policy, state)
    if not policy.every(relevant):  # which chooses among the tools of the agent
        assert outcome(policy.bound(Toolbox(tools_into([]))), state) == outcome(policy, state)
    assert policy.bound(Toolbox()) == policy


def tools_into(entered: list[Step | str]) -> list[Tool]:
    """The tools `a`, `b` and `c`; they say when they are entered, and `c` fails every other time."""

    async def a(n: float = 0) -> str:
        entered.append("a")
        return "a"

    async def b(n: float = 0) -> str:
        entered.append("b")
        return "b"

    async def c(n: float = 0) -> str:
        entered.append("c")
        if entered.count("c") % 2:
            raise ValueError("not now")
        return "c"

    return [Tool.of(a), Tool.of(b), Tool.of(c)]


Move: TypeAlias = str | list[str]
"""What a model does with a request: `obey`, an answer, or calls of tools by name, real or not."""

_called: list[str] = [*NAMES, "teleport", "functions.a", "B"]
moves: st.SearchStrategy[Move] = st.one_of(
    st.sampled_from(["obey", "obey", "answer"]),
    st.lists(st.sampled_from(list[str](NAMES)), min_size=1, max_size=3),
    st.lists(st.sampled_from(_called), min_size=1, max_size=3),
)


class Wild:
    """A model that makes these moves over and over, and checks every history as a strict endpoint would."""

    name = "wild"

    def __init__(self, moves: Sequence[Move]) -> None:
        self.moves = moves
        self.requests = 0

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        fault = fault_in([message.to_dict() for message in request.messages])
        assert fault is None, fault
        move = self.moves[self.requests % len(self.moves)]
        self.requests += 1
        if move == "obey":
            move = self._obedient(request)
        if isinstance(move, str):
            return ChatResponse((Choice(AssistantMessage("So it is."), "stop"),))
        calls = [ToolCall(f"c{at}", name, f'{{"n": {self.requests // 3}}}') for at, name in enumerate(move)]
        return ChatResponse((Choice(AssistantMessage(tool_calls=tuple(calls)), "tool_calls"),))

    def _obedient(self, request: ChatRequest) -> Move:
        offered = [spec.name for spec in request.tools]
        match request.tool_choice.mode:
            case "tool":
                assert request.tool_choice.tool in offered
                return [request.tool_choice.tool]
            case "required":
                assert offered
                return [offered[self.requests % len(offered)]]
            case _:
                return "answer"


def check_only_what_was_allowed_ran(log: list[Step | str]) -> None:
    """Check each tool that was entered against the step before it."""
    step: Step | None = None
    for entry in log:
        if isinstance(entry, Step):
            step = entry
            continue
        assert step is not None
        assert step.violation is None
        assert entry in allowed_calls(step.choice)


async def approve(call: ToolCall) -> bool:
    return call.arguments != "{}"


async def end_of(
    agent: AgentClass,
) -> Result[str] | ToolChoiceIgnored | PolicyContradiction | StepFailed | LimitReached:
    try:
        return await agent.run("go", approver=approve)
    except (ToolChoiceIgnored, PolicyContradiction, StepFailed, LimitReached) as end:
        return end


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.no_cover
def test_every_run_ends_within_its_limits_and_runs_nothing_forbidden(backend: str) -> None:
    ends: set[str] = set()

    @example(required & budget(2), [["a"]], 1, None, ())
    @example(force("c"), ["obey"], 1, None, "c")
    @example(first("a"), ["answer"], 1, None, ())
    @example(before_answer("a") & budget(2), [["b"]], 1, None, ())
    @example(auto, [["a"]], 1, None, ())
    @example(first(force("a"), then=force("a")), [["a"]], 1, 1, "c")
    @example(sequence("a", "a"), [["a"]], 1, 1, ())
    @given(
        policies,
        st.lists(moves, min_size=1, max_size=6),
        st.integers(0, 2),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([(), "c"]),
    )
    def run(policy: Policy, moves: list[Move], corrections: int, repeats: int | None, stop_at: Any) -> None:
        log: list[Step | str] = []

        def observe(event: Event) -> None:
            if isinstance(event, StepFinished):
                log.append(event.step)

        model = Wild(moves)
        try:
            agent = Agent(
                model,
                tools=tools_into(log),
                tool_choice=policy,
                stop_at=stop_at,
                max_corrections=corrections,
                max_repeats=repeats,
                limits=Limits(steps=12),
                observers=[observe],
            )
        except ConfigurationError:
            assert not policy.can_answer or refusal(policy, frozenset(NAMES), frozenset(stop_at))
            return
        ended = anyio.run(end_of, agent, backend=backend)
        if isinstance(ended, Result):
            ends.add(ended.stop)
            assert ended.steps[-1].violation is None
            assert ended.stop == "tool" or allows_answer(ended.steps[-1].choice)
            messages = ended.messages
        else:
            ends.add(type(ended).__name__)
            assert ended.partial is not None
            messages = ended.partial.messages
        obeyed = [entry.violation is None for entry in log if isinstance(entry, Step)]
        assert fault_in([message.to_dict() for message in messages]) is None
        assert not isinstance(ended, LimitReached) or model.requests == 12 or ended.limit == "calls"
        if isinstance(ended, ToolChoiceIgnored):
            assert not obeyed[-1]
            assert all(isinstance(entry, Step) for entry in log[-corrections - 1 :])
        assert model.requests <= 12
        check_only_what_was_allowed_ran(log)

    run()
    assert ends == {"answer", "tool", "ToolChoiceIgnored", "PolicyContradiction", "StepFailed", "LimitReached"}
