"""A policy's states, and the way of a run through them, as data for the page."""

from collections.abc import Iterable, Iterator, Sequence

from agentkit.core.choice import AUTO
from agentkit.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from agentkit.core.state import State, Step, ToolResults
from agentkit.tool_choice.analysis import Governed, analyse
from agentkit.tool_choice.exploration import memory_of
from agentkit.viewer.document import Json

_MOST_STATES = 200
"""A drawing of more is not read."""


def graph_of(agent: Governed, messages: Sequence[Message], start: int = 0) -> Json:
    """Return the states of an agent's policy, the calls between them, and the way of a run.

    `path` has the state in which each reply was made, `None` if it was not explored. `trail` also has those between the
    results of one reply.

    Args:
        agent: The agent, for its policy and tools.
        messages: The conversation.
        start: How many of the messages were there before the run.
    """
    report = analyse(agent, most=_MOST_STATES)
    numbers = {node.memory: node.number for node in report.nodes}
    path: list[int | None] = []
    trail: list[int] = []
    for at, state, is_asked in _states_of(messages, agent.stop_at):
        if at >= start:
            place = numbers.get(memory_of(agent.tool_choice, state))
            path += [place] if is_asked else []
            trail += [] if place is None else [place]
    drawn = report.graph
    return {
        "policy": repr(agent.tool_choice),
        "nodes": [{"label": place.label, "answers": place.answers, "wrong": place.wrong} for place in drawn.places],
        "edges": [list(move) for move in drawn.moves],
        "path": path,
        "trail": trail,
        "complete": report.complete,
        "assumed": list(report.assumed),
    }


def _states_of(messages: Sequence[Message], stop_at: Iterable[str]) -> Iterator[tuple[int, State, bool]]:
    """Yield the state before each reply and after each result: its place, the state, and whether a reply is next."""
    state = State.of((), stop_at)
    for at, message in enumerate(messages):
        match message:
            case AssistantMessage():
                yield at, state, True
                state = state.with_reply(Step(message, AUTO, ""))
            case ToolMessage():
                state = state.with_results(ToolResults((message,)))
                yield at, state, False
            case UserMessage(note=False):
                state = State.of(messages[: at + 1], stop_at)
            case _:
                pass
