"""Writing a run to its session, and what the session knows of the effects of calls with `effect="once"`."""

from collections.abc import Generator, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from hashlib import sha256
from math import isfinite
from os import urandom
from threading import Lock
from typing import Any, Literal, TypeAlias, cast

from agentkit.core.concurrency import shielded
from agentkit.core.json import encode
from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage
from agentkit.core.session import Entry, Session, Started, StoredConversation
from agentkit.tools.results import result_text
from agentkit.tools.tool import Tool

Standing: TypeAlias = Literal["fresh", "open", "running", "started", "done"]
"""What is known of an effect.

- `fresh`: no call has had it, or the one that tried failed.
- `open`: its call is open in a history that does not say whether the call had started.
- `running`: its call is running.
- `started`: a call had started, and nobody knows how it ended.
- `done`: a call has had it.
"""

_NOTHING = StoredConversation()
_TELLS_NOBODY = nullcontext()


@dataclass(slots=True)
class Effect:
    """The effect of calls with one idempotency key: what is known of it, and the result of the call that had it."""

    key: str
    standing: Standing = "fresh"
    answer: ToolMessage | None = None

    def settle(self, answer: ToolMessage) -> None:
        """Learn how its call ended. Done stays done; only an error of a running call means that nothing happened."""
        if self.standing == "done":
            return
        match answer.outcome:
            case "ok":
                self.standing, self.answer = "done", answer
            case "error" if self.standing == "running":
                self.standing = "fresh"
            case _:
                self.standing = "started"


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A call that runs in this process now."""

    recorder: "Recorder"
    call: ToolCall
    arguments: str
    effect: Effect
    keyed: bool


_RUNNING: dict[Hashable, tuple[_Running, ...]] = {}  # by session
_LOCK = Lock()


class Recorder:
    """Writes what a run does to its session, if it has one, before anything follows from it.

    Runs in this process that share a session know of each other's running calls.
    """

    def __init__(self, session: Session | None = None, kept: StoredConversation = _NOTHING) -> None:
        self._session = session
        self._place: Hashable = _place(session)
        self._by_key: dict[str, Effect] = {}
        for started, answer in kept.ended:
            self._effect_of(started, "running").settle(answer)
        self._by_call = {started.call_id: self._effect_of(started, "started") for started in kept.started}

    def _effect_of(self, started: Started, standing: Standing) -> Effect:
        effect = self._by_key.setdefault(started.key, Effect(started.key)) if started.key else Effect(urandom(16).hex())
        if effect.standing != "done":
            effect.standing = standing
        return effect

    def doubt(self, calls: Iterable[ToolCall]) -> None:
        """Learn of open calls in a history that does not say whether they had started."""
        for call in calls:
            self._by_call.setdefault(call.id, Effect("", "open"))

    def _others(self) -> Iterable[_Running]:
        if self._session is None:
            return ()
        return [running for running in _RUNNING.get(self._place, ()) if running.recorder is not self]

    def runs_elsewhere(self, call: ToolCall) -> bool:
        """Whether another run of the same session, in this process, is running this very call."""
        return any(running.call == call for running in self._others())

    def elsewhere(self, call: ToolCall, key: str | None, arguments: str) -> Effect | None:
        """Return the effect that another run of the same session, in this process, is at work on.

        Without a key, it is that of the same call, or of one with the same arguments.
        """
        for running in self._others():
            same = running.call.name == call.name and running.arguments == arguments and not running.keyed
            if running.effect.key == key or running.call == call or (key is None and same):
                if key is not None:
                    self._by_key[key] = running.effect  # so that this run learns how it ends
                return running.effect
        return None

    def running(
        self, call: ToolCall, arguments: str, effect: Effect | None, *, keyed: bool
    ) -> AbstractContextManager[None]:
        """Have other runs of the session know that a call with an effect is running."""
        if effect is None or self._session is None:
            return _TELLS_NOBODY
        return self._telling(_Running(self, call, arguments, effect, keyed))

    @contextmanager
    def _telling(self, running: _Running) -> Generator[None]:
        with _LOCK:
            _RUNNING[self._place] = (*_RUNNING.get(self._place, ()), running)
        try:
            yield
        finally:
            if running.effect.standing == "running":  # it has no result, so nobody knows
                running.effect.standing = "started"
            with _LOCK:
                rest = tuple([other for other in _RUNNING.pop(self._place) if other is not running])
                if rest:
                    _RUNNING[self._place] = rest

    def effect(self, call: ToolCall, key: str | None) -> Effect:
        """Return what is known of the effect of a call with this key; without one, each call has its own effect."""
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
        """Whether a call had started when the program was stopped, so that nobody knows how it ended."""
        effect = self._by_call.get(call.id)
        return effect is not None and effect.standing == "started"

    async def start(self, call: ToolCall, arguments: str, effect: Effect | None) -> None:
        """Write that a call is about to run. If that raises, the call must not run."""
        effect = effect or Effect(urandom(16).hex())
        effect.standing = "running"
        self._by_call[call.id] = effect
        await self.keep(Started(call.id, call.name, arguments, effect.key))

    async def keep(self, *entries: Entry) -> None:
        """Write entries to the session. A cancellation waits until they are stored."""
        if self._session is not None and entries:
            await shielded(partial(self._session.append, entries))
        for entry in entries:
            if isinstance(entry, AssistantMessage):
                for call in entry.tool_calls:  # a model may use an id again, for another call
                    self._by_call.pop(call.id, None)
            elif isinstance(entry, ToolMessage) and entry.tool_call_id in self._by_call:
                self._by_call.pop(entry.tool_call_id).settle(entry)


def _place(session: Session | None) -> Hashable:
    """Return what tells conversations apart: equal sessions are the same one."""
    try:
        hash(session)
    except TypeError:
        return id(session)
    return cast("Hashable", session)


def effect_key(tool: Tool, values: Mapping[str, object]) -> str | None:
    """Return the idempotency key of a call from its validated arguments; `None` if each call has an own effect."""
    key = tool.options.key
    if key is None:
        return None
    arguments = tool.arguments.complete(values)  # what was left out counts as its default
    if callable(key):
        parts = key(arguments)
    else:
        names = tool.arguments.names
        parts = [arguments.get(names[name]) for name in ([key] if isinstance(key, str) else key)]
    return sha256(encode([tool.name, _canonical(parts)])).hexdigest()


def _canonical(value: Any) -> object:
    """Return data that is the same for equal values: numbers, times and sets have several spellings."""
    data: object
    match value:
        case None | bool() | str():
            data = value
        case _ if isinstance(value, int) or (isinstance(value, float | Decimal) and isfinite(value)):
            data = {"": str(Fraction(value))}  # which no text equals
        case datetime() if value.tzinfo is not None:
            data = result_text(value.astimezone(UTC))
        case Mapping():
            data = _sorted_canonical(cast("Mapping[object, object]", value).items())
        case set() | frozenset():
            data = _sorted_canonical(cast("set[object]", value))
        case list() | tuple():
            data = [_canonical(item) for item in cast("list[object]", value)]
        case _ if is_dataclass(value):
            data = [_canonical(getattr(value, field.name)) for field in fields(value)]
        case _ if callable(getattr(value, "get_secret_value", None)):  # the text of every secret is the same stars
            data = _canonical(value.get_secret_value())
        case _ if callable(getattr(value, "model_dump", None)):
            data = _canonical(value.model_dump())
        case _:
            data = result_text(value)
    return data


def _sorted_canonical(values: Iterable[object]) -> list[object]:
    return sorted([_canonical(value) for value in values], key=encode)
