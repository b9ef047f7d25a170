"""Many inputs on one machine: some at once, each comes to an outcome of its own, and each is kept as it comes."""

from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from operator import attrgetter
from os import PathLike
from types import TracebackType
from typing import Any, Generic, Protocol, TypeAlias, TypedDict, cast

from anyio import Lock, create_memory_object_stream, create_task_group
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from typing_extensions import TypeVar

from agentkit.core.checks import check_number
from agentkit.core.dicts import Prompt, messages_of
from agentkit.core.errors import (
    AgentkitError,
    AuthenticationFailed,
    ConfigurationError,
    InvalidRequest,
    JournalError,
    LimitReached,
    QuotaExceeded,
)
from agentkit.core.json import whole
from agentkit.core.messages import Message, UserMessage
from agentkit.core.session import Session
from agentkit.runs.batch.journal import Journal, OpenJournal, opened
from agentkit.runs.batch.outcomes import Batched, Mapped, Summary, line_of, mapped_of
from agentkit.runs.batch.progress import Tell, shown
from agentkit.runs.handle import run_blocking
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.limits import Budget, Limits
from agentkit.runs.output import FINAL_ANSWER
from agentkit.runs.plan import Plan, Scope
from agentkit.tools.approval import Approver

DepsT = TypeVar("DepsT", default=None)
Deps_co = TypeVar("Deps_co", default=None, covariant=True)
OutT = TypeVar("OutT", default=str)

_END: Any = object()
_DEEP = 2**31
_HOPELESS = (ConfigurationError, AuthenticationFailed, QuotaExceeded)
"""What every other input would meet too."""


@dataclass(frozen=True, slots=True)
class Input(Generic[Deps_co]):
    """An input with what is its own.

    Attributes:
        prompt: What its run begins with, as for `Agent.run`.
        deps: What its tools may ask for; those of the batch unless given.
        session: Where its conversation is kept; that of the batch unless given.
        key: What the journal knows it by: the id of a row, of an order.
    """

    prompt: Prompt
    deps: Deps_co | None = None
    session: Session | None = None
    key: str | None = None


Inputs: TypeAlias = Iterable[Prompt | Input[DepsT] | Input[None]] | AsyncIterable[Prompt | Input[DepsT] | Input[None]]
"""Prompts, or inputs with what is their own. They are pulled when there is room for one more, and not kept."""


class MapOptions(TypedDict, Generic[DepsT], total=False):
    """How a batch is run.

    Attributes:
        concurrency: How many inputs may be under way at once; 8 unless given.
        journal: The file in which it is kept what each input came to; see `Journal`. A batch with the same journal goes
            on where it stopped.
        key: What the journal knows an input by: a function of the prompt, or of the `Input`. Without it, a hash of the
            messages. Equal ones are told apart by their order.
        session: A function from the key of an input to the session that keeps its conversation, such as
            `Sqlite("chats.db").conversation`.
        deps: What all tools may ask for.
        approver: Decides on calls of tools that need approval.
        requests: How many requests the whole batch may make, with those of earlier runs that its journal tells of.
        tokens: How many tokens it may use, likewise.
        cost: What it may cost, likewise.
        progress: Whether to show on stderr how far it is; where that is a terminal unless given.
    """

    concurrency: int
    journal: Journal | str | PathLike[str] | None
    key: Callable[[Any], str] | None
    session: Callable[[str], Session] | None
    deps: DepsT
    approver: Approver | None
    requests: int | None
    tokens: int | None
    cost: float | None
    progress: bool | None


class Give(Protocol):
    """Makes what a run is given, and sees that it will do."""

    def __call__(
        self, prompt: Prompt | None, deps: Any, approver: Approver | None, session: Session | None
    ) -> RunInput:
        """Make it."""
        ...


@dataclass(frozen=True, slots=True)
class _Job:
    """An input that was pulled."""

    index: int
    key: str
    input: Input[Any]


class Batch(Generic[OutT]):
    """Many inputs, to be run once. Await it for all outcomes in order; or enter it, and iterate for each as it comes.

    Leaving the block before the last stops what is under way. What the journal has, it keeps.
    """

    def __init__(self, plan: Plan, give: Give, inputs: Inputs[Any], options: MapOptions[Any]) -> None:
        self._plan, self._give, self._options = plan, give, options
        self._inputs, self._total = _iterator(inputs), len(inputs) if isinstance(inputs, Sized) else None
        self._concurrency = options.get("concurrency", 8)
        check_number("concurrency", self._concurrency, least=1, whole=True)
        most: dict[str, Any] = {each: options.get(each) for each in ("requests", "tokens", "cost")}
        self._budget = Budget(Limits(**most, seconds=None, calls=None, depth=_DEEP))
        self._around = replace(plan, scope=Scope(budget=self._budget))
        self._path, self._journal = options.get("journal"), cast("OpenJournal | None", None)
        self._seen = Counter[str]()
        self._pulled = 0
        self._turn = Lock()
        self._summary = Summary()
        self._stopped: AgentkitError | None = None
        self._block: AbstractAsyncContextManager[MemoryObjectReceiveStream[Mapped[OutT]]] | None = None
        self._outcomes: MemoryObjectReceiveStream[Mapped[OutT]] | None = None

    @property
    def summary(self) -> Summary:
        """What it has come to so far."""
        return replace(self._summary, usage=self._budget.usage, stopped=self._stopped)

    def __await__(self) -> Generator[Any, Any, Batched[OutT]]:
        return self._collected().__await__()

    async def __aenter__(self) -> "Batch[OutT]":
        if self._block is not None:
            raise InvalidRequest("a batch runs once; make another one: agent.map(…)")
        self._block = self._working()
        self._outcomes = await self._block.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return None if self._block is None else await self._block.__aexit__(kind, error, traceback)

    def __aiter__(self) -> AsyncIterator[Mapped[OutT]]:
        return self

    async def __anext__(self) -> Mapped[OutT]:
        if self._outcomes is None:
            raise InvalidRequest("a batch is entered before it is iterated: async with agent.map(…) as batch")
        return await anext(self._outcomes)

    async def _collected(self) -> Batched[OutT]:
        async with self:
            found = [each async for each in self]
        return Batched(tuple(sorted(found, key=attrgetter("index"))), self.summary)

    def wait(self) -> Batched[OutT]:
        """Wait for what all came to, in code that is not async."""
        try:
            return run_blocking(self._collected)
        except KeyboardInterrupt as stopped:
            self._say_how_to_go_on(stopped)
            raise

    @asynccontextmanager
    async def _working(self) -> AsyncGenerator[MemoryObjectReceiveStream[Mapped[OutT]], None]:
        """Work on the inputs beside the block, and stop where it ends."""
        try:
            async with AsyncExitStack() as stack:
                if self._path is not None:
                    journal = self._path if isinstance(self._path, Journal) else Journal(self._path)
                    self._journal = await stack.enter_async_context(opened(journal, _parts(self._plan)))
                    earlier = self._journal.usage
                    self._budget.spend(earlier, earlier.total_tokens or 0)
                tell = stack.enter_context(shown(self._options.get("progress"), self._total))
                send, receive = create_memory_object_stream[Mapped[OutT]]()
                stack.enter_context(receive)
                group = await stack.enter_async_context(create_task_group())
                for _ in range(self._concurrency):
                    group.start_soon(self._work, send.clone(), tell)
                send.close()
                yield receive
                group.cancel_scope.cancel()
        except BaseException as stopped:
            found = [each for each in _leaves(stopped) if isinstance(each, Exception | KeyboardInterrupt)]
            if not found:
                self._say_how_to_go_on(stopped)
                raise
            raise found[0] from found[0].__cause__

    async def _work(self, send: MemoryObjectSendStream[Mapped[OutT]], tell: Tell) -> None:
        """Take one input after the other."""
        with send:
            while (job := await self._next()) is not None:
                mapped = self._from_journal(job) or await self._mapped(job)
                self._summary = self._summary.plus(mapped)
                tell(self._summary.ended, self._summary.failed)
                await send.send(mapped)

    async def _next(self) -> _Job | None:
        """Pull an input that is to be run, or that the journal knows; `None` if there is none, or the batch stops."""
        async with self._turn:
            given = _END if self._stopped is not None else await _pulled(self._inputs)
            if given is _END:
                return None
            job = self._job(given)
            if self._journal is None or not self._journal.has(job.key):
                self._stopped = self._stopped or self._at_limit()
            return None if self._stopped is not None else job

    def _job(self, given: Prompt | Input[Any]) -> _Job:
        one = given if isinstance(given, Input) else Input(given)
        function = self._options.get("key")
        said = one.key or (_hash(one.prompt) if function is None else function(given))
        if not isinstance(said, str):  # pyright: ignore[reportUnnecessaryIsInstance] (not every caller is checked)
            raise InvalidRequest(f"the key of an input must be a text, not {said!r}")
        key = whole(said)
        self._seen[key] += 1
        if (count := self._seen[key]) > 1:
            key = f"{key}#{count}"
        self._pulled += 1
        return _Job(self._pulled - 1, key, one)

    def _at_limit(self) -> LimitReached | None:
        """Say which limit of the batch does not allow another request, if one does not."""
        reached = self._budget.used_up()
        return reached and LimitReached(
            f"the batch is at its limit, {reached.limit}={reached.allowed:g}; inputs that were not at their end are "
            "left. To go on with them, run it again with the same journal and a higher limit",
            reached.limit,
            reached.allowed,
        )

    def _from_journal(self, job: _Job) -> Mapped[OutT] | None:
        line = None if self._journal is None else self._journal.ended(job.key)
        return None if line is None else mapped_of(line, job.index, job.key, self._plan)

    async def _mapped(self, job: _Job) -> Mapped[OutT]:
        """Run an input, and keep what it came to."""
        again = False
        try:
            mapped: Mapped[OutT] = Mapped(job.index, job.key, await perform(self._plan, await self._given(job)))
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 (the rest goes on)
            stops, limit = isinstance(error, _HOPELESS), self._at_limit()
            if (
                limit
                and isinstance(error, LimitReached)
                and (error.limit, error.allowed) == (limit.limit, limit.allowed)
            ):
                limit.partial, limit.__cause__ = error.partial, error
                error, stops = limit, True
            if stops:
                self._stopped, again = self._stopped or cast("AgentkitError", error), True
            mapped = Mapped(job.index, job.key, error=error)
        if self._journal is not None:
            await self._journal.add(line_of(mapped, self._plan, again=again))
        return mapped

    async def _given(self, job: _Job) -> RunInput:
        """Give what a run is given: nothing new, if its conversation was begun by an earlier run and goes on."""
        one, options = job.input, self._options
        session = one.session or (make(job.key) if (make := options.get("session")) is not None else None)
        prompt: Prompt | None = one.prompt
        if session is not None and self._journal is not None:
            if self._journal.begun(job.key) and _asked((await session.load()).messages, messages_of(one.prompt)):
                prompt = None
            await self._journal.add({"key": job.key, "started": True})
        deps = options.get("deps") if one.deps is None else one.deps
        given = self._give(prompt, deps, options.get("approver"), session)
        return replace(given, parent=self._around)

    def _say_how_to_go_on(self, stopped: BaseException) -> None:
        if self._journal is not None:
            stopped.add_note(
                f"{self._summary.ended:,} inputs are at their end and kept in {self._journal.name}; the same call "
                "again goes on with the rest"
            )


def _iterator(inputs: Inputs[Any]) -> Iterator[Any] | AsyncIterator[Any]:
    if isinstance(inputs, AsyncIterable):
        return aiter(inputs)
    if isinstance(inputs, str | Mapping) or not isinstance(inputs, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] (not every caller is checked)
        raise InvalidRequest(f"the inputs of a batch are a list of prompts, or what gives them, not {inputs!r:.100}")
    return iter(inputs)


async def _pulled(inputs: Iterator[Any] | AsyncIterator[Any]) -> Any:
    return await anext(inputs, _END) if isinstance(inputs, AsyncIterator) else next(inputs, _END)


def _hash(prompt: Prompt) -> str:
    """Give what tells a prompt from others; one that is none too, as its run will say so."""
    try:
        parts = [each.encoded for each in messages_of(prompt)]
    except InvalidRequest:
        parts = [repr(prompt).encode(errors="replace")]
    return _digest(*parts)


def _digest(*parts: bytes) -> str:
    return blake2b(b"\0".join(parts), digest_size=12).hexdigest()


def _asked(kept: tuple[Message, ...], asked: tuple[Message, ...]) -> bool:
    """Tell whether a conversation has a prompt, and nothing of the user after it."""
    found = [at for at in range(len(kept) - len(asked) + 1) if kept[at : at + len(asked)] == asked]
    return bool(found) and not any(
        isinstance(each, UserMessage) and not each.note for each in kept[found[-1] + len(asked) :]
    )


def _parts(plan: Plan) -> dict[str, str]:
    """Give what an answer depends on: the parts of the agent by which a journal knows it again."""
    tools = [each.encoded for each in plan.toolbox.specs if each.name != FINAL_ANSWER]
    output = b"" if plan.output is None else plan.output.tool.spec.encoded + plan.output.mode.encode()
    return {
        "model": plan.model.name,
        "instructions": _digest(b"" if plan.instructions is None else plan.instructions.encoded),
        "tools": _digest(*tools),
        "tool_choice": _digest(plan.policy_text.encode()),
        "settings": _digest(plan.settings.encoded),
        "output": _digest(output),
    }


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Give the errors of a group, or the one that there is."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(each)
    else:
        yield error
