"""What a run writes down as it goes, and what it knows from before of calls that must run once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from hashlib import sha256
from math import isfinite
from os import urandom
from typing import Any, Literal, TypeAlias, cast

from agentkit.core.concurrency import shielded
from agentkit.core.json import encode
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage
from agentkit.core.session import Entry, Session, Started, StoredConversation
from agentkit.tools.results import result_text
from agentkit.tools.tool import Tool

Standing: TypeAlias = Literal["fresh", "open", "running", "started", "done"]
"""What is known of an effect: nothing, or that it failed; its call is open in a history that does not say whether it
had started; its call is running; one had started, and nobody knows how it ended; it is there."""

_NOTHING = StoredConversation()


@dataclass(slots=True)
class Effect:
    """What a call that must run once does to the world.

    Attributes:
        key: What tells it from others.
        standing: What is known of it.
        answer: The answer of the call that had it.
    """

    key: str
    standing: Standing = "fresh"
    answer: ToolMessage | None = None

    def settle(self, answer: ToolMessage) -> None:
        """Learn how its call ended. Done is done, and only a call that ran can tell that nothing happened."""
        if self.standing == "done":
            return
        match answer.outcome:
            case "ok":
                self.standing, self.answer = "done", answer
            case "error" if self.standing == "running":
                self.standing = "fresh"
            case _:
                self.standing = "started"


class Recorder:
    """Writes down what a run does, if it has a session, before anything follows from it.

    Args:
        session: Where to.
        kept: What the session had.
    """

    def __init__(self, session: Session | None = None, kept: StoredConversation = _NOTHING) -> None:
        self._session = session
        self._by_key: dict[str, Effect] = {}
        for started, answer in kept.ended:
            self._known(started, "running").settle(answer)
        self._by_call = {each.call_id: self._known(each, "started") for each in kept.started}

    def _known(self, started: Started, standing: Standing) -> Effect:
        effect = self._by_key.setdefault(started.key, Effect(started.key)) if started.key else Effect(urandom(16).hex())
        if effect.standing != "done":
            effect.standing = standing
        return effect

    def doubt(self, calls: Iterable[ToolCall]) -> None:
        """Learn of calls that are open in a history from elsewhere, which does not say whether they had started."""
        for call in calls:
            self._by_call.setdefault(call.id, Effect("", "open"))

    def effect(self, call: ToolCall, key: str | None) -> Effect:
        """Give what is known of the effect that a call would have.

        Args:
            call: The call.
            key: What tells its effect from others; `None` if each call has one of its own.
        """
        own = self._by_call.get(call.id)
        known = None if key is None else self._by_key.get(key)
        if known is None or (own is not None and known.standing == "fresh"):
            # A call that had started keeps the key that it had then.
            known = own or Effect("")
            known.key = known.key or key or urandom(16).hex()
            if key is not None:
                self._by_key[key] = known
        return known

    def had_started(self, call: ToolCall) -> bool:
        """Tell whether a call was about to run when the program was stopped, so that nobody knows how it ended."""
        effect = self._by_call.get(call.id)
        return effect is not None and effect.standing == "started"

    async def start(self, call: ToolCall, arguments: str, effect: Effect | None) -> None:
        """Write down that a call is about to run.

        Raises:
            SessionError: If it cannot be kept; then the call must not run.
        """
        effect = effect or Effect(urandom(16).hex())
        effect.standing = "running"
        self._by_call[call.id] = effect
        await self.keep(Started(call.id, call.name, arguments, effect.key))

    async def keep(self, *entries: Entry) -> None:
        """Write down messages. A cancellation waits until they are kept.

        Raises:
            SessionError: If they cannot be kept.
        """
        if self._session is not None and entries:
            await shielded(partial(self._session.append, entries))
        for each in entries:
            if isinstance(each, AssistantMessage):
                for call in each.tool_calls:  # an id that is used again is that of another call
                    self._by_call.pop(call.id, None)
            elif isinstance(each, ToolMessage) and each.tool_call_id in self._by_call:
                self._by_call.pop(each.tool_call_id).settle(each)


def effect_key(tool: Tool, values: Mapping[str, object]) -> str | None:
    """Say what tells the effect of a call from others; `None` if each call has one of its own.

    Args:
        tool: Its tool.
        values: What it is called with, validated. What was left out counts as its default.
    """
    key = tool.options.key
    if key is None:
        return None
    given = tool.arguments.complete(values)
    if callable(key):
        told = key(given)
    else:
        names = tool.arguments.names
        told = [given.get(names[name]) for name in ([key] if isinstance(key, str) else key)]
    return sha256(encode([tool.name, _same(told)])).hexdigest()


def _same(value: Any) -> object:
    """Give data that is the same for equal values: numbers, times and sets have several spellings."""
    said: object
    match value:
        case None | bool() | str():
            said = value
        case _ if isinstance(value, int) or (isinstance(value, float | Decimal) and isfinite(value)):
            said = {"": str(Fraction(value))}  # no text
        case datetime() if value.tzinfo is not None:
            said = result_text(value.astimezone(UTC))
        case Mapping():
            said = _ordered(cast("Mapping[object, object]", value).items())
        case set() | frozenset():
            said = _ordered(cast("set[object]", value))
        case list() | tuple():
            said = [_same(each) for each in cast("list[object]", value)]
        case _ if is_dataclass(value):
            said = [_same(getattr(value, each.name)) for each in fields(value)]
        case _ if callable(getattr(value, "get_secret_value", None)):  # as text all of them are the same stars
            said = _same(value.get_secret_value())
        case _ if callable(getattr(value, "model_dump", None)):
            said = _same(value.model_dump())
        case _:
            said = result_text(value)
    return said


def _ordered(values: Iterable[object]) -> list[object]:
    return sorted([_same(each) for each in values], key=encode)
