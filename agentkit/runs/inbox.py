"""What is sent to a run while it is under way: messages, and the wish that it stops.

The loop knows nothing of it. Where something was sent, `ask` leaves the loop before its request, and `lifecycle` enters
it again with a history that has the messages.
"""

from dataclasses import replace
from threading import Lock
from typing import cast

from agentkit.core.errors import InvalidRequest
from agentkit.core.messages import Message, UserMessage
from agentkit.core.parts import Content


class LeaveLoop(Exception):
    """Raised before a request, where something was sent to the run."""


class Inbox:
    """Takes what is sent to a run, from any task and thread, until the run ends.

    Args:
        around: The inbox of the run in which this one is a tool: where that is to stop, this one is too.
    """

    __slots__ = ("_around", "_closed", "_lock", "_messages", "_stopping")

    def __init__(self, around: "Inbox | None" = None) -> None:
        self._around = around
        self._lock = Lock()
        self._messages: tuple[UserMessage, ...] = ()
        self._stopping = False
        self._closed = False

    @property
    def messages(self) -> tuple[UserMessage, ...]:
        """The messages that were not read yet."""
        return self._messages

    @property
    def stopping(self) -> bool:
        """Whether the run is to stop."""
        return self._stopping or (self._around is not None and self._around.stopping)

    def send(self, message: Content | UserMessage) -> None:
        """Take a message; see `Run.send`."""
        # As a note, it belongs to the turn that is under way: policies do not begin again, whoever sends it.
        sent = replace(message, note=True) if isinstance(message, UserMessage) else UserMessage(message, note=True)
        with self._lock:
            if self._closed:
                raise InvalidRequest("the run has ended and reads no more messages: send it with the next run")
            self._messages = (*self._messages, sent)

    def stop(self) -> None:
        """Have the run stop before its next request; see `Run.stop`."""
        self._stopping = True

    def check(self) -> None:
        """Leave the loop if something was sent."""
        if self._messages or self._stopping or (self._around is not None and self._around.stopping):
            raise LeaveLoop

    def remove_first(self) -> None:
        """Remove the first message, which was read."""
        with self._lock:
            self._messages = self._messages[1:]

    def close_if_empty(self) -> bool:
        """Take no more messages, unless one came meanwhile; return whether that was so."""
        with self._lock:
            self._closed = not self._messages
            return self._closed

    def close(self) -> tuple[UserMessage, ...]:
        """Take no more messages, and return those that nobody read."""
        with self._lock:
            self._closed = True
            return self._messages


def with_unread(history: tuple[Message, ...]) -> tuple[tuple[Message, ...], Inbox]:
    """Return the history of a paused run without the unread messages at its end, and an inbox that has them."""
    inbox = Inbox()
    end = len(history)
    while end and isinstance(message := history[end - 1], UserMessage) and message.note:
        end -= 1
    for message in history[end:]:
        inbox.send(cast("UserMessage", message))
    return history[:end], inbox
