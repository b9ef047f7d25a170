"""What a policy can do, computed before any run.

Policies are pure, and most remember little. So all that a run can come to is explored breadth first: from the empty
history, each reply that the policy lets run leads to another history, and histories that the policy remembers alike
(`Policy.memory`) are one state. `sequence(a, b)` has three states.

The parts of `a & b` remember apart, so each is asked once for each thing that *it* can remember, over the shortest
history that it remembers so. A state is what all parts remember together.

What is explored, and what is not:

- A call ends well, `a:ok`, or not, `a:error`; a call that may not run is `a:refused`. A policy that reads results names
  those that matter (`Policy.results`): `classify:refund`.
- A reply has one call or two.
- A count that may grow without end, as what `must_follow` has open, is followed to 2: a reply has two calls, and what
  follows from more comes about again. Where a budget ends it, it is followed as far as the budget goes, to 8 at most.
- If a part has `scope="conversation"`, the user speaks again where the model may answer: `user`.
- Arguments are not known, and differ in every call. So a rule on arguments may allow a call, and `no_repeat` sees no
  repetition. What reads arguments, messages or dependencies is not analysed: it is taken to allow everything there, and
  `Report.assumed` has it.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple, NoReturn, TypeAlias, TypeVar, cast

from agentkit.core.choice import ToolChoice
from agentkit.core.errors import AnswerInvalid, PolicyContradiction
from agentkit.core.messages import Message, Outcome, ToolCall
from agentkit.core.state import Call, CallRecord, State
from agentkit.tool_choice.choices import most_restrictive
from agentkit.tool_choice.limits import budget
from agentkit.tool_choice.policy import ANY_RESULT, Policy, auto, both
from agentkit.tool_choice.remembering import Open
from agentkit.tool_choice.repetition import no_repeat
from agentkit.tool_choice.report import Contradiction, Node, Path, Report, stuck_in

AnswerT = TypeVar("AnswerT")
_Memory: TypeAlias = tuple[Hashable, ...]

_FEW, _MANY = 2, 8
USER = "user"
"""Stands in a path for the user, who speaks again."""


class MadeCall(NamedTuple):
    """A call and how it ended."""

    tool: str
    outcome: Outcome
    result: str = ""

    def __str__(self) -> str:
        return f"{self.tool}:{self.result or self.outcome}"


Reply: TypeAlias = tuple[MadeCall, ...]
"""The calls of a reply."""


class _Unknown(BaseException):
    """Raised when a policy reads what is known only in a run."""


def _unknown(what: str) -> Callable[..., NoReturn]:
    def read(*_: object) -> NoReturn:
        raise _Unknown(what)

    return read


class _Arguments(Mapping[str, object]):
    __getitem__ = __iter__ = __len__ = __contains__ = _unknown("the arguments of a call")


class _Messages(tuple[Message, ...]):
    __slots__ = ()
    __getitem__ = __iter__ = __len__ = __contains__ = _unknown("the messages")


class _Deps:
    __getattr__ = __getitem__ = __iter__ = __len__ = __contains__ = _unknown("the dependencies of the run")


_NOTHING: Hashable = ()
_ARGUMENTS, _MESSAGES, _DEPS = _Arguments(), _Messages(), _Deps()


def _state(
    calls: Sequence[CallRecord] = (),
    step: int = 0,
    earlier: Sequence[CallRecord] = (),
    pending: tuple[Call, ...] = (),
) -> State:
    return State(_MESSAGES, calls=calls, step=step, earlier=earlier, deps=_DEPS, pending=pending)


class _Part:
    """A part of the policy: what it can remember, each with the shortest history that it remembers so."""

    def __init__(self, policy: Policy, replies: Sequence[Reply], most_open: int) -> None:
        self.policy = policy
        self._most_open = most_open
        self.assumed: set[str] = set()
        self._replies = replies
        self._states: dict[Hashable, State] = {}
        # Each is asked many times over, as states differ in what the other parts remember.
        self.choice = cache(self._choice)
        self.runs = cache(self._runs)
        self.after_each = cache(self._after_each)
        self.after = cache(self._after)
        self.next_turn = cache(self._next_turn)
        self.begin = self._remember(_state())

    def _remember(self, state: State) -> Hashable:
        memory = self._ask(lambda: _hashed(counted(self.policy.memory(state), self._most_open)), _NOTHING)
        self._states.setdefault(memory, state)
        return memory

    def _choice(self, memory: Hashable) -> ToolChoice:
        return self._ask(lambda: self.policy(self._states[memory]), ToolChoice())

    def _runs(self, memory: Hashable) -> frozenset[int]:
        """Return which replies have only calls that may run, by their place among the replies."""
        denied: dict[tuple[str, ...], bool] = {}
        for reply in self._replies:
            names = tuple([made.tool for made in reply])
            if names not in denied:
                denied[names] = denied.get(names[:-1], False) or self._denies(memory, names)
        return frozenset([
            at for at, reply in enumerate(self._replies) if not denied[tuple([made.tool for made in reply])]
        ])  # fmt: skip

    def _denies(self, memory: Hashable, names: tuple[str, ...]) -> bool:
        seen = self._states[memory]
        calls = tuple([_call(name, len(seen.calls) + at) for at, name in enumerate(names)])
        state = _state(seen.calls, seen.step, seen.earlier, calls[:-1])
        return self._ask(lambda: self.policy.judge(calls[-1], state).kind == "deny", otherwise=False)

    def _after_each(self, memory: Hashable) -> tuple[Hashable, ...]:
        return tuple([self.after(memory, reply) for reply in self._replies])

    def _after(self, memory: Hashable, reply: Reply, arguments: str | None = None) -> Hashable:
        state = self._states[memory]
        before = len(state.earlier) + len(state.calls)
        records = [
            CallRecord(_written(made.tool, before + at, arguments), made.outcome, state.step, made.result)
            for at, made in enumerate(reply)
        ]
        step = state.step + any(made.outcome != "refused" for made in reply)
        return self._remember(_state((*state.calls, *records), step, state.earlier))

    def _next_turn(self, memory: Hashable) -> Hashable:
        state = self._states[memory]
        earlier = [record._replace(step=record.step - state.step) for record in state.conversation.calls]
        return self._remember(_state(earlier=tuple(earlier)))

    def _ask(self, ask: Callable[[], AnswerT], otherwise: AnswerT) -> AnswerT:
        try:
            return ask()
        except (PolicyContradiction, AnswerInvalid):
            raise
        except _Unknown as unknown:
            self.assumed.add(f"{self.policy!r} reads {unknown}")
        except Exception as error:  # noqa: BLE001 (the user's function; in a run it fails loudly)
            self.assumed.add(f"{self.policy!r} raised {error.__cause__ or error!r}")
        return otherwise


def counted(memory: Hashable, most: int) -> Hashable:
    """Return what is remembered, with what is open counted to so many."""
    if isinstance(memory, Open):
        return min(int(memory), most)
    if isinstance(memory, tuple):
        return tuple([counted(part, most) for part in cast("tuple[Hashable, ...]", memory)])
    return memory


def most_open(*policies: Policy) -> int:
    """Return how far what is open is counted."""
    budgets = [part.calls for policy in policies for part in policy.every(budget)]
    return min(max([_FEW, *budgets]), _MANY)


def _hashed(memory: Hashable) -> Hashable:
    hash(memory)  # which raises for a list
    return memory


@lru_cache(maxsize=1_000)
def _written(tool: str, number: int, arguments: str | None = None) -> ToolCall:
    return ToolCall(f"c{number}", tool, arguments or f'{{"n": {number}}}')


def _call(tool: str, number: int) -> Call:
    return Call(tool, _ARGUMENTS, _written(tool, number))


def memory_of(policy: Policy, state: State) -> tuple[Hashable, ...]:
    """Return what the parts of a policy remember in a state of a run: it is `Node.memory` of the state it is in."""
    most = most_open(policy)
    return tuple([counted(part.memory(state), most) for part in parts_of(policy)])


def parts_of(policy: Policy) -> tuple[Policy, ...]:
    """Return the parts that hold at once, without `no_repeat`, which sees no repetition here."""
    parts = policy.policies if isinstance(policy, both) else (policy,)
    return tuple([part for part in parts if not isinstance(part, no_repeat)]) or (auto,)


class Exploration:
    """All that a policy can come to.

    Args:
        policy: The policy.
        tools: The names of the tools.
        stop_at: The tools whose success ends the run.
        most: How many states to explore at most.
        longest: How many calls a reply has at most: 1 or 2.
        rule: A policy that is only watched: `breach` is the shortest way to a call that it would not let run.
    """

    def __init__(  # noqa: PLR0913 (each says what is explored)
        self,
        policy: Policy,
        tools: Iterable[str],
        stop_at: Iterable[str] = (),
        *,
        most: int,
        longest: int = 2,
        rule: Policy | None = None,
    ) -> None:
        self._policy, self._tools, self._stop_at = policy, tuple(sorted(set(tools))), frozenset(stop_at)
        self._most, self._turns = most, policy.remembers_turns
        one = [(made,) for tool in self._tools for made in _ends(tool, policy.results(tool))]
        two = [(*first, *second) for first in one for second in one] if longest > 1 else []
        self._replies: list[Reply] = [*one, *two]
        self._labels = ["+".join(map(str, reply)) for reply in self._replies]
        most_counted = most_open(policy, *([rule] if rule else []))
        self._held = [_Part(part, self._replies, most_counted) for part in parts_of(policy)]
        self._rule = None if rule is None else _Part(rule, self._replies, most_counted)
        self._parts = [*self._held, *([self._rule] if self._rule else [])]
        self._permitted = cache(self._places_of)
        self._queue: list[tuple[int, int, int, _Memory, Path]] = []
        self._order = count()
        self._visited: dict[_Memory, Node] = {}
        self._moves: dict[_Memory, dict[_Memory, list[str]]] = {}
        self._called: set[str] = set()
        self.breach: Path | None = None

    def report(self) -> Report:
        """Explore, and return what was found."""
        contradictions: list[Contradiction] = []
        depth: int | None = None
        self._push(0, tuple([part.begin for part in self._parts]), ())
        while self._queue:
            calls, _, _, memory, path = heappop(self._queue)
            if memory in self._visited:
                continue
            if len(self._visited) == self._most:
                depth = calls - 1
                break
            number = len(self._visited)
            self._moves[memory] = {}
            try:
                choice, ended = self._visit(calls, memory, path)
                self._visited[memory] = Node(number, path, choice, ended or choice.mode in ("auto", "none"), memory)
            except AnswerInvalid:  # the run ends there, with that error
                self._visited[memory] = Node(number, path, ToolChoice("none"), answers=True, memory=memory)
            except PolicyContradiction as error:
                contradictions.append(Contradiction(path, str(error)))
                self._visited[memory] = Node(number, path, None, answers=False, memory=memory)
        nodes = tuple([node._replace(moves=self._moves_from(memory)) for memory, node in self._visited.items()])
        dead = frozenset(self._tools) - self._called if depth is None else frozenset[str]()
        assumed = sorted({text for part in self._held for text in part.assumed})
        return Report(nodes, dead, tuple(contradictions), stuck_in(nodes), depth, tuple(assumed))

    def _moves_from(self, memory: _Memory) -> tuple[tuple[str, int | None], ...]:
        return tuple([
            (label, self._visited[target].number if target in self._visited else None)
            for target, labels in self._moves[memory].items()
            for label in labels
        ])  # fmt: skip

    def _push(self, calls: int, memory: _Memory, path: Path) -> None:
        """Have a state explored: those with the fewest calls first, and of these, those with the most replies."""
        if memory not in self._visited:
            heappush(self._queue, (calls, -len(path), next(self._order), memory, path))

    def _visit(self, calls: int, memory: _Memory, path: Path) -> tuple[ToolChoice, bool]:
        """Find where each reply leads; return what the model may do, and whether a reply ends the run.

        Raises:
            PolicyContradiction: If the policy contradicts itself there.
        """
        held = list(zip(self._held, memory, strict=False))
        choice = most_restrictive([(part.policy, part.choice(remembered)) for part, remembered in held])
        places = self._permitted(choice).intersection(*[part.runs(remembered) for part, remembered in held])
        if not places and choice.mode in ("required", "tool"):
            wanted = choice.tool or "some tool"
            raise PolicyContradiction(f"{self._policy!r} asks for a call of {wanted}, and allows none")
        self._watch(places, memory, path)
        if 8 * len(places) > len(self._replies):  # all at once are quicker, unless most are not asked for
            each = list(
                zip(*[part.after_each(held) for part, held in zip(self._parts, memory, strict=True)], strict=True)
            )
            after = [(place, each[place]) for place in sorted(places)] if each else []
        else:
            known = () if choice.arguments is None else (choice.arguments,)
            after = [(place, self._after(memory, self._replies[place], *known)) for place in sorted(places)]
        ended = False
        for place, target in after:
            reply, follows = self._replies[place], target
            labels: Path = (self._labels[place],)
            self._called.update([made.tool for made in reply])
            if self._stop_at and any(made.tool in self._stop_at and made.outcome == "ok" for made in reply):
                ended = True
                if not self._turns:
                    continue
                follows, labels = self._next_turn(target), (*labels, USER)
            if len(reply) == 1 or follows not in self._moves[memory]:
                self._move(memory, calls + len(reply) + len(labels) - 1, path, labels, follows)
        for tool in self._tools if choice.arguments is None else ():
            refused = MadeCall(tool, "refused")
            if (target := self._after(memory, (refused,))) != memory:
                self._move(memory, calls + 1, path, (str(refused),), target)
        if self._turns and choice.mode in ("auto", "none"):
            self._move(memory, calls + 1, path, (USER,), self._next_turn(memory))
        return choice, ended

    def _move(self, memory: _Memory, calls: int, path: Path, labels: Path, target: _Memory) -> None:
        self._moves[memory].setdefault(target, []).append(", ".join(labels))
        self._push(calls, target, (*path, *labels))

    def _after(self, memory: _Memory, reply: Reply, *arguments: str) -> _Memory:
        return tuple([part.after(held, reply, *arguments) for part, held in zip(self._parts, memory, strict=True)])

    def _next_turn(self, memory: _Memory) -> _Memory:
        return tuple([part.next_turn(held) for part, held in zip(self._parts, memory, strict=True)])

    def _places_of(self, choice: ToolChoice) -> frozenset[int]:
        """Return the places of the replies that a choice permits; a call whose arguments are known is alone."""
        longest = 2 if choice.arguments is None else 1
        return frozenset([
            place
            for place, reply in enumerate(self._replies)
            if len(reply) <= longest and all(choice.permits(made.tool) for made in reply)
        ])  # fmt: skip

    def _watch(self, places: frozenset[int], memory: _Memory, path: Path) -> None:
        """Find the shortest way to a call that the rule would not let run."""
        if self._rule is None:
            return
        kept = self._permitted(self._rule.choice(memory[-1])) & self._rule.runs(memory[-1])
        if broken := places - kept:
            way = (*path, self._labels[min(broken)])
            if self.breach is None or _calls_in(way) < _calls_in(self.breach):
                self.breach = way


def _ends(tool: str, results: frozenset[str]) -> list[MadeCall]:
    """Return how a call of a tool can end."""
    others = [] if ANY_RESULT in results else [""]  # it has other results too, unless it is not known which it has
    return [*[MadeCall(tool, "ok", result) for result in [*sorted(results), *others]], MadeCall(tool, "error")]


def _calls_in(path: Path) -> int:
    return sum(label.count("+") + 1 for label in path)
