"""The laws of settling: random policies of all words judge the calls of random models, with a random approver.

Set `AGENTKIT_LAWS` to draw so many examples of each law instead of the few of the gate.
"""

import json
from collections.abc import Hashable, Sequence
from dataclasses import field, replace
from typing import Any, NamedTuple, TypeAlias

import anyio
from hypothesis import example, given
from hypothesis import strategies as st

from agentkit import (
    Agent,
    AssistantMessage,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    Event,
    Limits,
    PolicyContradiction,
    State,
    StepFinished,
    Tool,
    ToolCall,
    ToolContext,
    ToolMessage,
    UserMessage,
    approve,
    deny,
    tool,
)
from agentkit.agent.agent import Agent as AgentClass
from agentkit.core.chat import Choice
from agentkit.core.errors import AgentkitError
from agentkit.core.model import OnChunk
from agentkit.core.repair import repaired
from agentkit.core.state import Step
from agentkit.tool_choice import Call, Part, Policy, ToolChoice, Verdict, auto, budget, one_at_a_time, required, where
from agentkit.tools.approval import Decision
from tests.endpoint import fault_in
from tests.tool_choice import NAMES, policies, states

RESUMED = 5

calls_of_any = st.builds(Call, st.sampled_from(NAMES), st.fixed_dictionaries({"n": st.integers(0, 3)}))
STRICT = ("allow", "ask", "deny")


@given(policies, policies, states, st.lists(calls_of_any, max_size=3), calls_of_any)
def test_both_judge_as_strictly_as_the_stricter(
    one: Policy, other: Policy, state: State, pending: list[Call], call: Call
) -> None:
    state = replace(state, pending=tuple(pending))
    try:
        kinds = [policy.judge(call, state).kind for policy in (one, other)]
        verdict = (one & other).judge(call, state)
    except PolicyContradiction:  # what a rule chooses may contradict itself
        return
    assert verdict.kind == max(kinds, key=STRICT.index)
    assert verdict.kind == (other & one).judge(call, state).kind
    assert verdict.kind == "allow" or verdict.reason


# ---- runs


class Judged(NamedTuple):
    """A call that was judged, the calls that were pending, and the verdict."""

    call: Call
    pending: Sequence[Call]
    verdict: Verdict


class Ran(NamedTuple):
    """A call that ran, with the value that its function got."""

    call: ToolCall
    n: int


class Asked(NamedTuple):
    """A call that an approver was asked for, and the decision."""

    call: ToolCall
    decision: str


Log: TypeAlias = list["Judged | Ran | Asked | Step"]


class watched(Policy):  # noqa: N801 (a policy is a word)
    """A policy that notes each verdict of another."""

    policy: Part
    log: Log = field(default_factory=list["Judged | Ran | Asked | Step"], compare=False)

    def __hash__(self) -> int:
        return id(self.log)  # an agent may get a policy that equals the one it was given

    def __call__(self, state: State) -> ToolChoice:
        return self.policy(state)

    def judge(self, call: Call, state: State) -> Verdict:
        verdict = self.policy.judge(call, state)
        self.log.append(Judged(call, state.pending, verdict))
        return verdict

    def memory(self, state: State) -> Hashable:
        return self.policy.memory(state)


def is_large(arguments: dict[str, Any]) -> bool:
    return bool(arguments["n"] > 1)


def tools_into(log: Log) -> list[Any]:
    """The tools `a`, `b` and `c`: `b` fails, and a call of `c` with a large number needs approval."""

    async def a(context: ToolContext[None], n: int = 0) -> str:
        log.append(Ran(context.call, n))
        return f"{n}"

    async def b(context: ToolContext[None], n: int = 0) -> str:
        log.append(Ran(context.call, n))
        raise ValueError("not now")

    async def c(context: ToolContext[None], n: int = 0) -> str:
        log.append(Ran(context.call, n))
        return "c"

    return [Tool.of(a), Tool.of(b), tool(approval=is_large)(c)]


Move: TypeAlias = list[tuple[str, int | None]] | None
"""The calls of a reply: tools, real or not, and a number or nothing; or what is asked for."""

moves: st.SearchStrategy[Move] = st.none() | st.lists(
    st.tuples(st.sampled_from([*NAMES, *NAMES, "teleport"]), st.sampled_from([0, 1, 2, 3, None])), max_size=4
)
decisions = st.sampled_from(["approve", "approve", "deny", "edit", "wait"])


class Wild:
    """A model that makes these moves, and checks every history as a strict endpoint would."""

    name = "wild"

    def __init__(self, moves: Sequence[Move]) -> None:
        self.moves = moves
        self.requests = 0

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        assert fault_in([message.to_dict() for message in request.messages]) is None
        move = self.moves[self.requests % len(self.moves)]
        self.requests += 1
        if move is None:
            names = [spec.name for spec in request.tools if request.tool_choice.permits(spec.name)]
            move = [] if request.tool_choice.mode in ("auto", "none") else [(names[0], self.requests)]
        calls = [
            ToolCall(f"c{self.requests}_{at}", name, json.dumps({} if n is None else {"n": n}))
            for at, (name, n) in enumerate(move)
        ]
        message = AssistantMessage(tool_calls=tuple(calls)) if calls else AssistantMessage("So it is.")
        return ChatResponse((Choice(message, "tool_calls" if calls else "stop"),))


class Approver:
    """Decides in turn, and edits a call to `{"n": 1}`."""

    def __init__(self, log: Log, turns: list[str]) -> None:
        self.log, self.turns, self.asked = log, turns, 0

    async def __call__(self, call: ToolCall) -> Decision | None:
        decision = self.turns[self.asked % len(self.turns)]
        self.asked += 1
        self.log.append(Asked(call, decision))
        match decision:
            case "approve":
                return approve(call)
            case "edit":
                return approve(call, {"n": 1})
            case "deny":
                return deny(call)
            case _:
                return None


async def run(agent: AgentClass, approver: Approver, log: Log) -> list[Any]:
    """Run until it ends, with all that waits approved a few times; return the messages.

    A model may ask again after each approval, and a run that is resumed may take all its steps again. What still waits
    then is given up, as by a user who goes on talking.
    """
    try:
        result = await agent.run("go", approver=approver)
        for _ in range(RESUMED):
            if result.stop != "paused":
                break
            log += [Asked(call, "approve") for call in result.pending]
            result = await agent.resume(result.messages, [approve(call) for call in result.pending])
    except AgentkitError as error:
        return list(error.partial.messages) if error.partial else []
    if result.stop == "paused":
        return list(repaired((*result.messages, UserMessage("Enough."))).messages)
    return list(result.messages)


def check(log: Log) -> None:
    """Hold every call that ran, and every one that was asked for, to its verdict."""
    judged: dict[str, list[Judged]] = {}
    asked: dict[str, str] = {}
    ran: set[str] = set()
    choice = ToolChoice()
    for entry in log:
        match entry:
            case Step():
                choice = entry.choice
            case Judged():
                assert entry.call.written is not None
                earlier = judged.setdefault(entry.call.written.id, [])
                check_pending(entry, judged, asked)
                earlier.append(entry)
            case Asked():
                assert judged[entry.call.id][-1].verdict.kind != "deny"
                asked[entry.call.id] = entry.decision
            case Ran():
                last = judged[entry.call.id][-1]
                decision = asked.get(entry.call.id)
                assert choice.permits(entry.call.name)
                assert entry.call.id not in ran
                assert last.verdict.kind != "deny"
                assert last.call.arguments == {"n": entry.n}
                assert decision in ("approve", "edit", None)
                made, verdict = judged[entry.call.id][0].call, judged[entry.call.id][0].verdict
                assert (decision is None) == (verdict.kind == "allow" and not (made.name == "c" and made["n"] > 1))
                assert decision != "edit" or (entry.n == 1 and len(judged[entry.call.id]) > 1)
                ran.add(entry.call.id)


def check_pending(entry: Judged, judged: dict[str, list[Judged]], asked: dict[str, str]) -> None:
    """Hold what was pending to the calls before in the same reply that may run, in order."""
    assert entry.call.written is not None
    reply, _, place = entry.call.written.id.partition("_")
    before = [pending.written.id for pending in entry.pending if pending.written is not None]
    assert before == sorted(before)
    assert all(pending.startswith(f"{reply}_") and pending < f"{reply}_{place}" for pending in before)
    may = {
        name
        for name, verdicts in judged.items()
        if name.startswith(f"{reply}_") and name < f"{reply}_{place}" and verdicts[-1].verdict.kind != "deny"
    }
    assert set(before) <= may
    denied = {name for name, decision in asked.items() if decision == "deny"}
    assert not set(before) & denied


@example(budget(1), [[("a", None), ("b", 0), ("c", 2)], None], ["approve"])
@example(where("a", lambda call, state: call["n"] < 1, otherwise="ask") & budget(1), [[("a", 2), ("a", 0)]], ["deny"])
@example(where("a", lambda call, state: call["n"] > 1, otherwise="ask"), [[("a", 0)], None], ["edit"])
@example(where("c", lambda call, state: call["n"] != 1), [[("c", 3)], None], ["edit"])
@example(one_at_a_time() & required & budget(2), [[("c", 2), ("a", 2)], None], ["wait"])
@example(auto, [[("c", 3), ("a", 2), ("c", 3)], []], ["wait", "edit"])
@given(policies, st.lists(moves, min_size=1, max_size=5), st.lists(decisions, min_size=1, max_size=4))
def test_what_was_judged_is_what_runs(policy: Policy, moves: list[Move], turns: list[str]) -> None:
    log: Log = []

    def observe(event: Event) -> None:
        if isinstance(event, StepFinished):
            log.append(event.step)

    model = Wild(moves)
    try:
        agent = Agent(
            model,
            tools=tools_into(log),
            tool_choice=watched(policy, log),
            max_repeats=None,
            limits=Limits(steps=8),
            observers=[observe],
        )
    except ConfigurationError:
        return
    log.clear()  # of what the policy was asked when the agent was made
    messages = anyio.run(run, agent, Approver(log, turns), log)
    check(log)
    assert messages
    assert fault_in([message.to_dict() for message in messages]) is None
    ran = {entry.call.id for entry in log if isinstance(entry, Ran)}
    outcomes = {message.tool_call_id: message.outcome for message in messages if isinstance(message, ToolMessage)}
    assert ran == {name for name, outcome in outcomes.items() if outcome in ("ok", "error") and name in ran}
    assert all(outcome != "ok" for name, outcome in outcomes.items() if name not in ran)
