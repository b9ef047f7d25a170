"""Calls of the agents' tools that wait until the client decides.

The client learns of a call, and of the id under which it waits, by an event in its own stream. Only the key that asked
can decide, and the id cannot be guessed: nothing that a model or a tool writes approves anything.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex

from anyio import Event

from agentkit.core.json import object_of
from agentkit.core.messages import ToolCall
from agentkit.server.errors import HttpError, invalid_field
from agentkit.tools.approval import Ask, Decision, deny


@dataclass(slots=True, eq=False)
class _Waiting:
    call: ToolCall
    decided: Event = field(default_factory=Event)
    decision: Decision | None = None


class Approvals:
    """The calls that wait, each for the client whose request it belongs to."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], _Waiting] = {}

    def asking(self, key: str, report: Callable[[ToolCall, str], None]) -> Ask:
        """Return an approver that waits for the client's decision.

        Args:
            key: The digest of the client's key.
            report: Tells the client of a call, and of the id of its approval.
        """

        async def ask(call: ToolCall) -> Decision:
            waiting = _Waiting(call)
            place = key, f"approval_{token_hex(16)}"
            self._waiting[place] = waiting
            try:
                report(call, place[1])
                await waiting.decided.wait()
            finally:
                self._waiting.pop(place, None)
            return waiting.decision or deny(call)

        return ask

    def decide(self, key: str, approval: str, body: object) -> bool:
        """Decide on the call that waits under an id, by `{"approved": true}`; return whether it was approved.

        Raises:
            HttpError: 404 if no call of this client waits there; 400 if the body is no decision.
        """
        fields = object_of(body)
        approved, reason = fields.get("approved"), fields.get("reason") or ""
        if not isinstance(approved, bool):
            raise invalid_field("approved", "approved must be true or false")
        if not isinstance(reason, str):
            raise invalid_field("reason", "reason must be a string")
        waiting = self._waiting.pop((key, approval), None)
        if waiting is None:
            raise HttpError(404, "no call waits for this approval", code="approval_not_found")
        waiting.decision = Decision(waiting.call, approved=approved, reason=reason)
        waiting.decided.set()
        return approved
