"""Approval: calls that wait until someone allows them.

A decision is bound to the call's id, name and arguments. It comes from an approver or from whoever resumes a run, never
from anything that a model or a tool said.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from agentkit.core.errors import InvalidRequest
from agentkit.core.json import encode
from agentkit.core.messages import ToolCall


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on one call; `approve` and `deny` make one. It holds for this very call only.

    Attributes:
        call: The call.
        approved: Whether it may run.
        arguments: Other arguments to run it with, as JSON; the model is told of them.
        reason: Why not; the model is told.
    """

    call: ToolCall
    approved: bool
    arguments: str | None = None
    reason: str = ""


Approver: TypeAlias = Callable[[ToolCall], "bool | Decision | Awaitable[bool | Decision | None] | None"]
"""Decides on a call, sync (in a thread) or async: `True`, `False`, a decision, or `None` to have the run pause."""

Ask: TypeAlias = Callable[[ToolCall], Awaitable[Decision | None]]
"""What a run asks for a decision."""


def approve(call: ToolCall, arguments: Mapping[str, object] | None = None) -> Decision:
    """Allow a call.

    Args:
        call: The call, one of `result.pending`.
        arguments: Other arguments to run it with, all of them.
    """
    return Decision(call, approved=True, arguments=None if arguments is None else encode(dict(arguments)).decode())


def deny(call: ToolCall, reason: str = "") -> Decision:
    """Do not allow a call.

    Args:
        call: The call, one of `result.pending`.
        reason: What the model is told of why.
    """
    return Decision(call, approved=False, reason=reason)


def match_decisions(decisions: Iterable[Decision], pending: Iterable[ToolCall]) -> Mapping[str, Decision]:
    """Give decisions by the ids of their calls.

    Args:
        decisions: What was decided.
        pending: The calls that wait.

    Raises:
        InvalidRequest: If one was made on a call that does not wait, or whose name or arguments are others now.
    """
    waiting = {call.id: call for call in pending}
    found: dict[str, Decision] = {}
    for each in decisions:
        call = waiting.get(each.call.id)
        if call is None:
            raise InvalidRequest(f"no call {each.call.id!r} ({each.call.name}) waits in this history")
        if (call.name, call.arguments) != (each.call.name, each.call.arguments):
            raise InvalidRequest(
                f"the decision on {each.call.id!r} was made on {each.call.name}({each.call.arguments}), and what waits "
                f"is {call.name}({call.arguments}); it must be decided anew"
            )
        found[call.id] = each
    return found


def as_decision(call: ToolCall, said: object) -> Decision | None:
    """Read what an approver said of a call.

    Raises:
        InvalidRequest: If it is no decision, or one on another call.
    """
    match said:
        case None:
            return None
        case bool():
            return Decision(call, approved=said)
        case Decision() if said.call == call:
            return said
        case _:
            raise InvalidRequest(f"an approver gives True, False, None or a decision on the very call, not {said!r}")


def in_terminal(call: ToolCall) -> bool:
    """Ask the person at the terminal. An approver: `agent.run_sync(prompt, approver=in_terminal)`."""
    answer = input(f"Run {call.name}({call.arguments})? [y/N] ")  # on a line of its own, as whoever answers sees it
    return answer.strip().lower() in ("y", "yes")
