"""Many inputs in one process: they run concurrently, and each outcome is stored as it comes.

Workers, as many as `concurrency` says, pull one input after the other. A worker takes the outcome from the journal, or
runs the input and adds its outcome to the journal. The batch stops at its own limits and at errors that every input
would meet.
"""

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
from functools import partial
from hashlib import blake2b
from operator import attrgetter
from os import PathLike
from time import perf_counter
from typing import Any, Generic, TypeAlias, cast

from anyio import Lock, create_memory_object_stream, create_task_group
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from typing_extensions import TypeVar

from agentkit.core.chat import FINAL_ANSWER, SettingsLike
from agentkit.core.checks import check_number
from agentkit.core.concurrency import beside
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
from agentkit.core.model import Model
from agentkit.core.session import Session
from agentkit.runs.batch.journal import Journal, OpenJournal, opened
from agentkit.runs.batch.key_table import KeyTable
from agentkit.runs.batch.outcomes import Batched, Mapped, Summary, line_of, mapped_of
from agentkit.runs.batch.progress import ShowProgress, progress_shown
from agentkit.runs.handle import run_blocking
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.limits import Budget, Limits
from agentkit.runs.options import OwnOptions, RunOptions
from agentkit.runs.plan import Plan, Scope
from agentkit.runs.result import Result
from agentkit.tool_choice import PolicyLike
from agentkit.tools.approval import Approver

DepsT = TypeVar("DepsT", default=None)
Deps_co = TypeVar("Deps_co", default=None, covariant=True)
OutT = TypeVar("OutT", default=str)

_END: Any = object()
_NO_DEPTH_LIMIT = 2**31
_FATAL = (ConfigurationError, AuthenticationFailed, QuotaExceeded)
"""Errors that every other input would meet too."""


@dataclass(frozen=True, slots=True)
class Input(Generic[Deps_co]):
    """An input with options of its own.

    Attributes:
        prompt: The prompt, as for `Agent.run`.
        deps: The dependencies of its tools; the batch's by default.
        session: Where its conversation is stored; the batch's `session` by default.
        key: Its key in the journal: the id of a row, of an order.
        tool_choice: A policy for this input; the batch's by default, as are the next three.
        model: A model, or a model's name.
        settings: Sampling settings: the fields that replace those of the batch.
        limits: Limits of its run.
    """

    prompt: Prompt
    deps: Deps_co | None = None
    session: Session | None = None
    key: str | None = None
    tool_choice: PolicyLike | None = None
    model: str | Model | None = None
    settings: SettingsLike | None = None
    limits: Limits | None = None


Inputs: TypeAlias = Iterable[Prompt | Input[DepsT] | Input[None]] | AsyncIterable[Prompt | Input[DepsT] | Input[None]]
"""Prompts or inputs. They are pulled one by one, as the concurrency allows, and not kept."""


class MapOptions(OwnOptions, Generic[DepsT], total=False):
    """The options of `Agent.map`: those of `OwnOptions`, for all inputs, and these.

    Attributes:
        concurrency: How many inputs run concurrently; 8 by default.
        journal: The file that stores the outcome of each input; see `Journal`. A batch with the same journal resumes
            where the last one stopped.
        key: A function from a prompt, or an `Input`, to its key in the journal. By default, a hash of the messages;
            equal ones are numbered.
        session: A function from the key of an input to the session that stores its conversation, such as
            `Sqlite("chats.db").conversation`.
        deps: The dependencies of all tools.
        approver: Decides on calls that need approval.
        requests: How many requests the batch may make, including those of earlier runs in its journal.
        tokens: How many tokens it may use, counted the same way.
        cost: What it may cost, counted the same way.
        progress: Whether to show the progress on stderr; by default, if that is a terminal.
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


Prepare: TypeAlias = Callable[[Prompt | None, RunOptions[Any]], tuple[Plan, RunInput]]
"""Makes the plan and the input of one run from its prompt and its options, and checks them."""


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    key: str
    input: Input[Any]


class Batch(Generic[OutT]):
    """Many inputs, to be run once. Await it for all outcomes in order; or enter it and iterate over them as they come.

    Leaving the block early cancels the runs that have not ended. What is in the journal stays there.
    """

    def __init__(self, plan: Plan, prepare: Prepare, inputs: Inputs[Any], options: MapOptions[Any]) -> None:
        self._plan, self._prepare, self._options = plan, prepare, options
        self._inputs, self._total = _iterator(inputs), len(inputs) if isinstance(inputs, Sized) else None
        self._concurrency = options.get("concurrency", 8)
        check_number("concurrency", self._concurrency, least=1, whole=True)
        limits: dict[str, Any] = {name: options.get(name) for name in ("requests", "tokens", "cost")}
        self._budget = Budget(Limits(**limits, seconds=None, calls=None, depth=_NO_DEPTH_LIMIT))
        self._parent = plan._replace(scope=Scope(budget=self._budget))  # so that all runs count in one budget
        self._path, self._journal = options.get("journal"), cast("OpenJournal | None", None)
        self._seen = KeyTable("I")
        self._pulled = 0
        self._turn = Lock()
        self._summary = Summary()
        self._stopped: AgentkitError | None = None
        self._block: AbstractAsyncContextManager[MemoryObjectReceiveStream[Mapped[OutT]]] | None = None
        self._outcomes: MemoryObjectReceiveStream[Mapped[OutT]] | None = None

    @property
    def summary(self) -> Summary:
        """The counts so far."""
        return replace(self._summary, usage=self._budget.usage, stopped=self._stopped)

    def __await__(self) -> Generator[Any, Any, Batched[OutT]]:
        return self._collected().__await__()

    async def __aenter__(self) -> "Batch[OutT]":
        if self._block is not None:
            raise InvalidRequest("a batch runs only once; make another one: agent.map(…)")
        self._block = self._run_workers()
        self._outcomes = await self._block.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:  # noqa: PYI036 (passed on)
        return None if self._block is None else await self._block.__aexit__(*error)

    def __aiter__(self) -> AsyncIterator[Mapped[OutT]]:
        return self

    async def __anext__(self) -> Mapped[OutT]:
        if self._outcomes is None:
            raise InvalidRequest("enter a batch before you iterate over it: async with agent.map(…) as batch")
        return await anext(self._outcomes)

    async def _collected(self) -> Batched[OutT]:
        async with self:
            outcomes = [mapped async for mapped in self]
        return Batched(tuple(sorted(outcomes, key=attrgetter("index"))), self.summary)

    def wait(self) -> Batched[OutT]:
        """Return all outcomes, from code that is not async."""
        try:
            return run_blocking(self._collected)
        except KeyboardInterrupt as stopped:
            self._add_resume_note(stopped)
            raise

    @asynccontextmanager
    async def _run_workers(self) -> AsyncGenerator[MemoryObjectReceiveStream[Mapped[OutT]], None]:
        try:
            async with AsyncExitStack() as stack:
                if self._path is not None:
                    journal = self._path if isinstance(self._path, Journal) else Journal(self._path)
                    self._journal = await stack.enter_async_context(opened(journal, _fingerprint(self._plan)))
                    earlier = self._journal.usage
                    self._budget.spend(earlier, earlier.total_tokens or 0)
                show = stack.enter_context(progress_shown(self._options.get("progress"), self._total))
                send, receive = create_memory_object_stream[Mapped[OutT]]()
                stack.enter_context(receive)
                await stack.enter_async_context(beside(partial(self._work_on_all, send, show)))
                yield receive
        except BaseException as stopped:
            errors = [error for error in _leaves(stopped) if isinstance(error, Exception | KeyboardInterrupt)]
            if not errors:
                self._add_resume_note(stopped)
                raise
            raise errors[0] from errors[0].__cause__

    async def _work_on_all(self, send: MemoryObjectSendStream[Mapped[OutT]], show: ShowProgress) -> None:
        with send:
            async with create_task_group() as group:
                for _ in range(self._concurrency):
                    group.start_soon(self._work, send.clone(), show)
                send.close()

    async def _work(self, send: MemoryObjectSendStream[Mapped[OutT]], show: ShowProgress) -> None:
        with send:
            while (job := await self._next_job()) is not None:
                mapped = self._from_journal(job) or await self._run(job)
                self._summary = self._summary.plus(mapped)
                show(self._summary.ended, self._summary.failed)
                await send.send(mapped)

    async def _next_job(self) -> _Job | None:
        """Pull an input; return `None` if there is none, or if the batch stops before it."""
        async with self._turn:
            pulled = _END if self._stopped is not None else await _pull(self._inputs)
            if pulled is _END:
                return None
            job = self._job_of(pulled)
            if self._journal is None or not self._journal.has(job.key):
                self._stopped = self._stopped or self._at_limit()
            return None if self._stopped is not None else job

    def _job_of(self, pulled: Prompt | Input[Any]) -> _Job:
        own = pulled if isinstance(pulled, Input) else Input(pulled)
        key_of = self._options.get("key")
        key = own.key or (_hash(own.prompt) if key_of is None else key_of(pulled))
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] (not every caller is checked)
            raise InvalidRequest(f"the key of an input must be a text, not {key!r}")
        key = whole(key)
        self._seen[key] = count = self._seen[key] + 1
        if count > 1:
            key = f"{key}#{count}"
        self._pulled += 1
        return _Job(self._pulled - 1, key, own)

    def _at_limit(self) -> LimitReached | None:
        """Return the error of the limit of the batch that allows no more requests, if one does not."""
        reached = self._budget.used_up()
        return reached and LimitReached(
            f"the batch reached its limit {reached.limit}={reached.allowed:g} before all inputs ended. To resume, run "
            "it again with the same journal and a higher limit",
            reached.limit,
            reached.allowed,
        )

    def _from_journal(self, job: _Job) -> Mapped[OutT] | None:
        line = None if self._journal is None else self._journal.ended(job.key)
        return None if line is None else mapped_of(line, job.index, job.key, self._plan)

    async def _run(self, job: _Job) -> Mapped[OutT]:
        """Run an input, and add the outcome to the journal."""
        again, began = False, perf_counter()
        try:
            result: Result[OutT] = await perform(*await self._prepared(job))
            mapped: Mapped[OutT] = Mapped(job.index, job.key, result, seconds=perf_counter() - began)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 (the other inputs run on)
            stops, limit = isinstance(error, _FATAL), self._at_limit()
            if (
                limit
                and isinstance(error, LimitReached)
                and (error.limit, error.allowed) == (limit.limit, limit.allowed)
            ):
                limit.partial, limit.__cause__ = error.partial, error
                error, stops = limit, True
            if stops:
                self._stopped, again = self._stopped or cast("AgentkitError", error), True
            mapped = Mapped(job.index, job.key, error=error, seconds=perf_counter() - began)
        if self._journal is not None:
            await self._journal.add(line_of(mapped, self._plan, again=again))
        return mapped

    async def _prepared(self, job: _Job) -> tuple[Plan, RunInput]:
        """Return the plan and the input of a run: without the prompt, if an earlier run stored it already."""
        own, options = job.input, self._options
        session = own.session or (session_of(job.key) if (session_of := options.get("session")) is not None else None)
        prompt: Prompt | None = own.prompt
        if session is not None and self._journal is not None:
            if self._journal.begun(job.key) and _has_prompt((await session.load()).messages, messages_of(own.prompt)):
                prompt = None
            await self._journal.add({"key": job.key, "started": True})
        deps = options.get("deps") if own.deps is None else own.deps
        own_options: RunOptions[Any] = {
            "deps": deps,
            "approver": options.get("approver"),
            "session": session,
            "tool_choice": own.tool_choice,
            "model": own.model,
            "settings": own.settings,
            "limits": own.limits,
        }
        plan, given = self._prepare(prompt, own_options)
        return plan, given._replace(parent=self._parent)

    def _add_resume_note(self, stopped: BaseException) -> None:
        if self._journal is not None:
            stopped.add_note(
                f"{self._summary.ended:,} inputs ended, and {self._journal.name} has their outcomes; the same call "
                "again resumes with the others"
            )


def _iterator(inputs: Inputs[Any]) -> Iterator[Any] | AsyncIterator[Any]:
    if isinstance(inputs, AsyncIterable):
        return aiter(inputs)
    if isinstance(inputs, str | Mapping) or not isinstance(inputs, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] (not every caller is checked)
        raise InvalidRequest(f"the inputs of a batch must be a list or an iterator of prompts, not {inputs!r:.100}")
    return iter(inputs)


async def _pull(inputs: Iterator[Any] | AsyncIterator[Any]) -> Any:
    return await anext(inputs, _END) if isinstance(inputs, AsyncIterator) else next(inputs, _END)


def _hash(prompt: Prompt) -> str:
    """Return the hash of a prompt; also of one that is not valid, which its run will report."""
    try:
        parts = [message.encoded for message in messages_of(prompt)]
    except InvalidRequest:
        parts = [repr(prompt).encode(errors="replace")]
    return _digest(*parts)


def _digest(*parts: bytes) -> str:
    return blake2b(b"\0".join(parts), digest_size=12).hexdigest()


def _has_prompt(kept: tuple[Message, ...], prompt: tuple[Message, ...]) -> bool:
    """Whether a conversation has a prompt, and no other message of the user after it."""
    places = [at for at in range(len(kept) - len(prompt) + 1) if kept[at : at + len(prompt)] == prompt]
    after = kept[places[-1] + len(prompt) :] if places else ()
    return bool(places) and not any(isinstance(message, UserMessage) and not message.note for message in after)


def _fingerprint(plan: Plan) -> dict[str, str]:
    """Return what answers depend on, by which a journal recognizes its agent."""
    tools = [spec.encoded for spec in plan.toolbox.specs if spec.name != FINAL_ANSWER]
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
    """Yield the errors of a group, or the one error."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
