"""What a policy can do, computed before any run.

Policies are pure, and most remember little. So the histories of a run can be explored breadth first: from the empty
history, each reply that the policy allows leads to another, and histories that the policy remembers alike
(`Policy.memory`) are one state. `sequence(a, b)` has three states. In each state the policy is asked what it offers and
which calls may run; what no state ever allows is dead, a state in which the policy contradicts itself is an error with
the shortest way there, and a state from which no answer can be reached is stuck.

A history is explored as calls with an outcome each: `a:ok` or `a:error`. Arguments differ in every call, so a policy
that counts repetitions sees none. A policy that reads results names the results that matter (`Policy.results`).
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple, TypeAlias

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import PolicyContradiction
from agentkit.core.messages import Outcome, ToolCall
from agentkit.core.state import Call, CallRecord, State
from agentkit.tool_choice.graph import Graph, Place
from agentkit.tool_choice.policy import Policy, PolicyLike, policy_of

Path: TypeAlias = tuple[str, ...]
"""A history in words: `("a:ok", "b:error")`; two calls of one reply are joined, `"a:ok+b:ok"`."""

_MOST_STATES = 500


class Event(NamedTuple):
    """A call and how it ended."""

    tool: str
    outcome: Outcome
    result: str = ""

    def __str__(self) -> str:
        return f"{self.tool}:{self.result or self.outcome}"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A state in which the policy wants what cannot be had together.

    Attributes:
        path: The shortest history that leads there.
        reason: Which parts are at odds.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"after {', '.join(self.path) or 'nothing'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Node:
    """A state of the policy.

    Attributes:
        number: Its number, 0 for the beginning.
        path: The shortest history that leads there.
        choice: What the next request lets the model do; `None` where the policy contradicts itself.
        answers: Whether the model may answer here, or a tool that ends the run has ended it.
        moves: What each reply leads to: the events in words, and the number of the next state.
    """

    number: int
    path: Path
    choice: ToolChoice | None
    answers: bool
    moves: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a policy can do.

    Attributes:
        nodes: The states that can be reached, the beginning first.
        dead: The tools that can never be called.
        contradictions: The states in which the policy contradicts itself, the shortest way first.
        stuck: The shortest ways to the states from which no answer can be reached.
        complete: Whether every state was explored; otherwise there are more than the limit.
    """

    nodes: tuple[Node, ...]
    dead: frozenset[str]
    contradictions: tuple[Contradiction, ...]
    stuck: tuple[Path, ...]
    complete: bool

    @property
    def graph(self) -> Graph:
        """The policy as a state machine: the calls that lead from one state to another, errors apart."""
        stuck = set(self.stuck)
        places = [
            Place(str(node.choice or "contradiction"), node.answers, node.choice is None or node.path in stuck)
            for node in self.nodes
        ]
        moves: dict[tuple[int, int], list[str]] = {}
        for node in self.nodes:
            for label, number in node.moves:
                if "+" not in label or not any(number == other for _, other in node.moves if "+" not in _):
                    moves.setdefault((node.number, number), []).append(label)
        return Graph(places, [(start, end, ", ".join(labels)) for (start, end), labels in moves.items()])

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong: no dead tool, no contradiction, no state without a way to an answer."""
        return not (self.dead or self.contradictions or self.stuck)

    def __str__(self) -> str:
        states = f"{len(self.nodes)} state{'s' * (len(self.nodes) != 1)}"
        lines = [states if self.complete else f"more than {states}: not all was explored"]
        lines += [f"dead: {', '.join(sorted(self.dead))} can never be called"] if self.dead else []
        lines += [f"contradiction {contradiction}" for contradiction in self.contradictions]
        lines += [f"stuck after {', '.join(path) or 'nothing'}: no answer can be reached" for path in self.stuck]
        return "\n".join(lines)


class _History(NamedTuple):
    """A history that is explored: its calls, the number of the next step, and the way there."""

    calls: tuple[CallRecord, ...]
    step: int
    path: Path

    @property
    def state(self) -> State:
        return State((), calls=self.calls, step=self.step)

    def after(self, events: tuple[Event, ...], arguments: str | None) -> "_History":
        first = len(self.calls)
        records = [
            CallRecord(
                ToolCall(f"c{number}", event.tool, arguments or f'{{"n": {number}}}'),
                event.outcome,
                self.step,
                event.result,
            )
            for number, event in enumerate(events, first)
        ]
        return _History((*self.calls, *records), self.step + 1, (*self.path, "+".join(map(str, events))))


def explore(
    policy: PolicyLike, tools: Iterable[str], *, stop_at: Iterable[str] = (), most: int = _MOST_STATES
) -> Report:
    """Explore what a policy can do with these tools.

    Args:
        policy: The policy.
        tools: The names of the tools.
        stop_at: The tools whose success ends the run.
        most: How many states to explore at most.
    """
    return _Exploration(policy_of(policy), tuple(sorted(set(tools))), frozenset(stop_at), most).report()


class _Exploration:
    def __init__(self, policy: Policy, tools: tuple[str, ...], stop_at: frozenset[str], most: int) -> None:
        self._policy = policy
        self._tools = tools
        self._stop_at = stop_at
        self._most = most
        self._queue: list[tuple[int, int, int, Hashable, _History]] = []
        self._nodes: dict[Hashable, Node] = {}
        self._moves_of: dict[Hashable, list[tuple[str, Hashable]]] = {}
        self._called: set[str] = set()
        self._complete = True
        self._order = count()
        self._events = {
            tool: (
                *[Event(tool, "ok", result) for result in sorted(policy.results(tool)) or ("",)],
                Event(tool, "error"),
            )
            for tool in tools
        }

    def report(self) -> Report:
        contradictions: list[Contradiction] = []
        self._push(_History((), 0, ()))
        while self._queue and self._complete:
            _, _, _, memory, history = heappop(self._queue)
            if memory in self._nodes:
                continue
            if len(self._nodes) == self._most:
                self._complete = False
                break
            number = len(self._nodes)
            wrong, choice, moves, ended = "", ToolChoice(), list[tuple[str, Hashable]](), False
            try:
                choice = self._policy(history.state)
                moves, ended = self._moves(history, choice)
            except PolicyContradiction as error:
                wrong = str(error)
            if not wrong and not moves and not ended and choice.mode in ("required", "tool"):
                wrong = f"{self._policy!r} asks for a call of {choice.tool or 'some tool'}, and allows none"
            if wrong:
                contradictions.append(Contradiction(history.path, wrong))
                self._nodes[memory] = Node(number, history.path, None, answers=False)
                continue
            self._nodes[memory] = Node(number, history.path, choice, choice.mode in ("auto", "none") or ended)
            self._moves_of[memory] = moves
        nodes = tuple([self._with_moves(memory, node) for memory, node in self._nodes.items()])
        dead = frozenset(self._tools) - self._called if self._complete else frozenset[str]()
        return Report(nodes, dead, tuple(contradictions), self._stuck(nodes), self._complete)

    def _with_moves(self, memory: Hashable, node: Node) -> Node:
        moves = [
            (label, self._nodes[after].number)
            for label, after in self._moves_of.get(memory, ())
            if after in self._nodes
        ]
        return replace(node, moves=tuple(moves))

    def _push(self, history: _History) -> Hashable:
        """Have a history explored, those with the fewest calls first; return what the policy remembers of it."""
        memory = self._policy.memory(history.state)
        if memory not in self._nodes:
            heappush(self._queue, (len(history.calls), -len(history.path), next(self._order), memory, history))
        return memory

    def _moves(self, history: _History, choice: ToolChoice) -> tuple[list[tuple[str, Hashable]], bool]:
        """Return where each reply leads, and whether one of them ends the run."""
        moves: list[tuple[str, Hashable]] = []
        ended = False
        for reply in self._replies(history.state, choice):
            self._called.update(event.tool for event in reply)
            if any(event.tool in self._stop_at and event.outcome == "ok" for event in reply):
                ended = True
                continue
            after = history.after(reply, choice.arguments)
            moves.append((after.path[-1], self._push(after)))
        return moves, ended

    def _replies(self, state: State, choice: ToolChoice) -> Iterator[tuple[Event, ...]]:
        """Return the replies of one or two calls that the policy lets run."""
        if choice.mode == "none":
            return
        offered = [tool for tool in self._tools if choice.offers(tool) and choice.tool in (None, tool)]
        for tool in offered:
            call = Call(tool)
            if not self._allows(call, state):
                continue
            yield from [(event,) for event in self._events[tool]]
            beside = replace(state, pending=(call,))
            for other in offered if choice.arguments is None else ():
                if self._allows(Call(other), beside):
                    yield from [(one, two) for one in self._events[tool] for two in self._events[other]]

    def _allows(self, call: Call, state: State) -> bool:
        try:
            return self._policy.judge(call, state).kind != "deny"
        except Exception:  # noqa: BLE001 (a rule on arguments, which are not known here, may allow some)
            return True

    def _stuck(self, nodes: tuple[Node, ...]) -> tuple[Path, ...]:
        """Return the shortest ways to states from which no answer can be reached."""
        before: dict[int, set[int]] = {}
        for node in nodes:
            for _, number in node.moves:
                before.setdefault(number, set()).add(node.number)
        reaching = {node.number for node in nodes if node.answers}
        todo = list(reaching)
        while todo:
            more = before.get(todo.pop(), set()) - reaching
            reaching |= more
            todo += more
        if not self._complete:
            return ()
        return tuple([node.path for node in nodes if node.choice is not None and node.number not in reaching])
