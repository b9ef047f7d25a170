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

from anyio import sleep

from agentkit.core.concurrency import shielded
from agentkit.core.json import encode
from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage
from agentkit.core.session import (
    Ended,
    Entry,
    Session,
    SharedSession,
    Started,
    StoredConversation,
    written_by_others,
)
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
_PAUSE = 0.01
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

    def abandon(self) -> None:
        """Learn that its call runs no more: without a result, nobody knows how it ended."""
        if self.standing == "running":
            self.standing = "started"

    async def wait(self) -> None:
        """Wait until its call, in a sub-agent beside this run, runs no more."""
        while self.standing == "running":  # noqa: ASYNC110 (it may run in another thread's event loop)
            await sleep(_PAUSE)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Running:
    """A call that runs in this process now."""

    recorder: "Recorder"
    call: ToolCall
    arguments: str
    effect: Effect
    keyed: bool


_RUNNING: dict[Hashable, tuple[_Running, ...]] = {}  # by session
_LOCK = Lock()


class _Journal:
    """What a run and the runs of its sub-agents share: the session, and what it knows of effects."""

    def __init__(self, session: Session | None, kept: StoredConversation, run_id: str) -> None:
        self.session = session
        self.shared = session if isinstance(session, SharedSession) else None
        self.run_id = run_id or urandom(8).hex()
        self.by_key: dict[str, Effect] = {}
        self._seen = kept.size
        self._open = kept.started
        self._others: tuple[Started, ...] = ()  # what other runs started during this one, and no call met yet
        for started, answer in kept.ended:
            self.effect_of(started, "running").settle(answer)

    def effect_of(self, started: Started, standing: Standing) -> Effect:
        key = started.key
        effect = self.by_key.setdefault(key, Effect(key)) if key else Effect(urandom(16).hex())
        if effect.standing != "done":
            effect.standing = standing
        return effect

    async def start(self, started: Started) -> bool:
        """Write that a call is about to run, and return `True`; or learn what other runs wrote about theirs."""
        if self.shared is None:
            await self.append([started])
            return True
        seen = self._seen
        news = await shielded(partial(self.shared.start, started, seen))
        written = not written_by_others(news, self.run_id)
        if not written:
            self._learn(news[self._seen - seen :])  # another call of this run may have learned some meanwhile
        self._seen = max(self._seen, seen + len(news) + written)
        return written

    def _learn(self, news: Iterable[Entry]) -> None:
        others = [entry for entry in news if isinstance(entry, Started) and entry.run != self.run_id]
        self._others = (*self._others, *others)
        kept = StoredConversation.of([*self._open, *news])
        self._open = kept.started
        for other, answer in kept.ended:
            if other.run != self.run_id:
                self.effect_of(other, "running").settle(answer)
        for other in kept.started:
            if other.run != self.run_id:
                self.effect_of(other, "started")

    def other(self, started: Started, *, keyed: bool, once: bool) -> Effect | None:
        """Return the effect of a call of another run that does the same, unless that failed.

        Without a key, the same is a call with the same arguments: any, if it must happen once, or that of the same id.
        """
        for other in self._others:
            alike = (other.name, other.arguments) == (started.name, started.arguments)
            if other.key == started.key or (not keyed and alike and (once or other.call_id == started.call_id)):
                self._others = tuple([left for left in self._others if left is not other])
                effect = self.by_key.get(other.key, Effect("", "started"))
                if effect.standing != "fresh":
                    return effect
        return None

    async def append(self, entries: list[Entry]) -> None:
        """Write entries. A cancellation waits until they are stored."""
        if self.session is not None and entries:
            await shielded(partial(self.session.append, entries))


class Recorder:
    """Writes what a run does to its session, if it has one, before anything follows from it.

    Runs in this process that share a session know of each other's running calls. A sub-agent has no session of its own:
    its calls with effects are recorded in that of the run around it, and known there.
    """

    def __init__(
        self,
        session: Session | None = None,
        kept: StoredConversation = _NOTHING,
        run_id: str = "",
        *,
        around: "Recorder | None" = None,
        inside: str = "",
    ) -> None:
        self.journal: _Journal = _Journal(session, kept, run_id) if around is None else around.journal
        self._place: Hashable = _place(self.journal.session)
        self._inside = inside  # the calls in which this run is one of a sub-agent
        self._by_call = {started.call_id: self.journal.effect_of(started, "started") for started in kept.started}
        self._keys: dict[str, str] = {}  # of calls in sub-agents, by their ids
        self._times: dict[tuple[str, str], int] = {}

    def nested(self, call: ToolCall, turn: int) -> "Recorder":
        """Return the recorder of a sub-agent that a call runs.

        Args:
            call: The call.
            turn: How many replies the conversation has: ids come again in later ones.
        """
        return Recorder(around=self, inside=f"{self._inside}{turn}.{call.id}/")

    def doubt(self, calls: Iterable[ToolCall]) -> None:
        """Learn of open calls in a history that does not say whether they had started."""
        for call in calls:
            self._by_call.setdefault(call.id, Effect("", "open"))

    def _others(self) -> Iterable[_Running]:
        if self.journal.session is None:
            return ()
        return [running for running in _RUNNING.get(self._place, ()) if running.recorder.journal is not self.journal]

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
                    self.journal.by_key[key] = running.effect  # so that this run learns how it ends
                return running.effect
        return None

    def running(
        self, call: ToolCall, arguments: str, effect: Effect | None, *, keyed: bool
    ) -> AbstractContextManager[None]:
        """Have other runs of the session know that a call with an effect is running."""
        return _TELLS_NOBODY if effect is None else self._telling(_Running(self, call, arguments, effect, keyed))

    @contextmanager
    def _telling(self, running: _Running) -> Generator[None]:
        with _LOCK:
            _RUNNING[self._place] = (*_RUNNING.get(self._place, ()), running)
        try:
            yield
        finally:
            running.effect.abandon()
            with _LOCK:
                rest = tuple([other for other in _RUNNING.pop(self._place) if other is not running])
                if rest:
                    _RUNNING[self._place] = rest

    def effect(self, call: ToolCall, key: str | None) -> Effect:
        """Return what is known of the effect of a call with this key; without one, each call has its own effect."""
        key = self._key_inside(call) if key is None and self._inside else key
        by_key = self.journal.by_key
        own = self._by_call.get(call.id)
        known = None if key is None else by_key.get(key)
        if known is None or (own is not None and known.standing == "fresh"):
            # A call that had started keeps the key that it had then.
            known = own or Effect("")
            known.key = known.key or key or urandom(16).hex()
            if key is not None:
                by_key[key] = known
        return known

    def _key_inside(self, call: ToolCall) -> str:
        """Return the key of a sub-agent's call that has none, which the same call has when the sub-agent runs again."""
        if call.id not in self._keys:
            same = call.name, call.arguments
            self._times[same] = times = self._times.get(same, 0) + 1
            parts = [self._inside, *same, times]
            self._keys[call.id] = sha256(encode(parts)).hexdigest()
        return self._keys[call.id]

    def had_started(self, call: ToolCall) -> bool:
        """Whether a call had started when the program was stopped, so that nobody knows how it ended."""
        effect = self._by_call.get(call.id)
        return effect is not None and effect.standing == "started"

    async def start(
        self, call: ToolCall, arguments: str, effect: Effect | None, *, keyed: bool = False
    ) -> Effect | None:
        """Write that a call is about to run. If that raises, the call must not run.

        Returns:
            The effect that another run of the session started meanwhile. Then nothing was written, and the call must
            not run either.
        """
        own = effect or Effect(urandom(16).hex())
        started = Started(self._inside + call.id, call.name, arguments, own.key, self.journal.run_id)
        written = False
        while not written:
            if other := self.journal.other(started, keyed=keyed, once=effect is not None):
                return other
            own.standing = "running"
            written = await self.journal.start(started)
        self._by_call[call.id] = own
        return None

    async def keep(self, *entries: Message) -> None:
        """Write messages to the session, and which calls with effects they end. A cancellation waits for that."""
        written: list[Entry] = []
        for entry in entries:
            if not self._inside:
                written.append(entry)
            if isinstance(entry, ToolMessage) and (effect := self._by_call.get(entry.tool_call_id)) and effect.key:
                call_id, answer = self._inside + entry.tool_call_id, entry if self._inside else None
                written.append(Ended(call_id, effect.key, self.journal.run_id, answer))
        await self.journal.append(written)
        for entry in entries:
            if isinstance(entry, AssistantMessage):
                for call in entry.tool_calls:  # a model may use an id again, for another call
                    self._by_call.pop(call.id, None)
                    self._keys.pop(call.id, None)
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
