"""What the analysis of a policy found."""

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from agentkit.core.choice import ToolChoice
from agentkit.tool_choice.drawing import Place
from agentkit.tool_choice.graph import Graph

_SHOWN = 5

Path: TypeAlias = tuple[str, ...]
"""A history in words: `("a:ok", "b:error")`; two calls of one reply are joined, `"a:ok+b:ok"`."""


class Contradiction(NamedTuple):
    """A state in which the policy wants what cannot be had together.

    Attributes:
        path: The shortest history that leads there.
        reason: Which parts are at odds.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{after(self.path)}: {self.reason}"


class Node(NamedTuple):
    """A state of the policy.

    Attributes:
        number: Its number, 0 for the beginning.
        path: The shortest history that leads there.
        choice: What the next request lets the model do; `None` where the policy contradicts itself.
        answers: Whether the model may answer there, or a tool can end the run there.
        memory: What each part of the policy remembers there.
        moves: What each reply leads to: the calls in words, and the number of the next state; `None` if that one was
            not explored. A reply of two calls stands here only if no single call leads to the same state.
    """

    number: int
    path: Path
    choice: ToolChoice | None
    answers: bool
    memory: tuple[Hashable, ...]
    moves: tuple[tuple[str, int | None], ...] = ()


class Report(NamedTuple):
    """What a policy can do; `str(report)` tells it.

    Attributes:
        nodes: The states that can be reached, the beginning first, those with the fewest calls before the others.
        dead: The tools that can never be called; empty unless `complete`.
        contradictions: The states in which the policy contradicts itself, the shortest way first.
        stuck: The shortest ways to the states from which no answer can be reached.
        depth: How many calls the histories have that were all explored, if there are too many; `None` if every state
            was explored.
        assumed: What was not analysed: the policies that read what is known only in a run.
    """

    nodes: tuple[Node, ...]
    dead: frozenset[str]
    contradictions: tuple[Contradiction, ...]
    stuck: tuple[Path, ...]
    depth: int | None
    assumed: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every state was explored."""
        return self.depth is None

    @property
    def sound(self) -> bool:
        """Whether nothing wrong was found: no dead tool, no contradiction, no state without a way to an answer."""
        return not (self.dead or self.contradictions or self.stuck)

    @property
    def graph(self) -> Graph:
        """The policy as a state machine: the calls that lead from one state to another; the others change nothing."""
        stuck = set(self.stuck)
        places = [
            Place(str(node.choice or "contradiction"), node.answers, node.choice is None or node.path in stuck)
            for node in self.nodes
        ]
        moves: dict[tuple[int, int], list[str]] = {}
        ends: dict[str, set[str]] = {}  # how the calls of each tool can end
        for node in self.nodes:
            for label, number in node.moves:
                if "+" not in label:
                    ends.setdefault(label.partition(":")[0], set()).add(label)
                if number is not None and number != node.number:
                    moves.setdefault((node.number, number), []).append(label)
        simple = {end for (_, end), labels in moves.items() if any("+" not in label for label in labels)}
        return Graph(
            places,
            [
                (start, end, ", ".join(_short(labels, ends)))
                for (start, end), labels in moves.items()
                if end not in simple or any("+" not in label for label in labels)
            ],
        )

    def __str__(self) -> str:
        states = f"{len(self.nodes)} state{'s' * (len(self.nodes) != 1)}"
        calls = f"{self.depth} call{'s' * (self.depth != 1)}"
        lines = [states if self.complete else f"more than {states}: all histories of up to {calls} were explored"]
        lines += [f"dead: {', '.join(sorted(self.dead))} can never be called"] if self.dead else []
        lines += _first([f"contradiction {contradiction}" for contradiction in self.contradictions])
        lines += _first([f"stuck {after(path)}: no answer can be reached" for path in self.stuck])
        lines += [f"not analysed: {text}; it is taken to allow everything there" for text in self.assumed]
        return "\n".join(lines)


def _short(labels: Sequence[str], ends: Mapping[str, set[str]]) -> list[str]:
    """Write `a` for all ways in which a call of `a` can end."""
    whole = [tool for tool, all_of in ends.items() if len(all_of) > 1 and all_of <= set(labels)]
    return [*whole, *[label for label in labels if label.partition(":")[0] not in whole]]


def _first(lines: Sequence[str]) -> list[str]:
    more = [f"… and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*lines[:_SHOWN], *more]


def after(path: Path) -> str:
    """Return where a path leads, in words: `after a:ok, then b:ok`."""
    return f"after {', then '.join(path)}" if path else "at the beginning"


def steps_to_answer(nodes: Sequence[Node]) -> dict[int, int]:
    """Return how many replies with calls it takes at least from each state to one in which the model may answer.

    A state that was not explored may be one. A state from which no answer can be reached is missing.
    """
    before: dict[int, set[int]] = {}
    for node in nodes:
        for _, number in node.moves:
            if number is not None:
                before.setdefault(number, set()).add(node.number)
    steps = {node.number: 0 for node in nodes if node.answers}
    steps |= {node.number: 1 for node in nodes if not node.answers and any(number is None for _, number in node.moves)}
    todo = sorted(steps, key=lambda number: steps[number])
    for number in todo:  # grows meanwhile
        for earlier in sorted(before.get(number, set()) - steps.keys()):
            steps[earlier] = steps[number] + 1
            todo.append(earlier)
    return steps


def stuck_in(nodes: Sequence[Node]) -> tuple[Path, ...]:
    """Return the shortest ways to states from which no answer can be reached."""
    steps = steps_to_answer(nodes)
    return tuple([node.path for node in nodes if node.choice is not None and node.number not in steps])
