"""One run with three tools, and every place in it where something can go wrong.

The first reply calls two tools at once, a sync and an async one; the second calls a third; the third is the answer. A
function gives the tools for each request, a middleware is around each call, and the async tool sends the run a message.
It goes over real sockets. What is counted: each read and write of a socket, each wait for the model and for an async
tool, the beginning and the end of each tool and of its middleware, each time that the tools are asked for, and each
event that an observer is told.
"""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakSet

import anyio
import pytest
from anyio.lowlevel import checkpoint

from agentkit import (
    Agent,
    ChatChunk,
    ChatClient,
    ChatRequest,
    ChatResponse,
    Event,
    Model,
    Result,
    Retries,
    State,
    StepFinished,
    ToolCall,
    ToolContext,
    ToolFinished,
    tool,
)
from agentkit.core.model import OnChunk
from agentkit.models.client import wire as wire_file
from agentkit.models.client.asyncio_reader import SocketReader
from agentkit.models.client.wire import Wire
from agentkit.runs.plan import SendNext
from agentkit.testing import Raw, answer, calling
from agentkit.tools.middleware import CallNext

T = TypeVar("T")

PROMPT = "Fetch, count, and send."
SENT = "Be quick."
FORMS = ("plain", "streamed")
TOOLS = ("fetch", "count", "send")
_ROUNDS = (calling(("fetch", {"n": 1}), ("count", {"n": 2})), calling(("send", {"n": 3})), answer("all done"))
_PIECES = 3
_MOST_READ = 300


async def finish(agent: Agent, form: str, prompt: Any = PROMPT, **options: Any) -> Result[str]:
    """Run an agent, plain or streamed, to its end."""
    if form == "plain":
        return await agent.run(prompt, **options)
    async with agent.stream(prompt, **options) as run:
        async for _ in run:
            pass
    return run.result


Point: TypeAlias = tuple[str, int]
"""What happens there, and how many times it has."""


class Points:
    """Keeps the points of a run, and calls `act`, which may raise, at the point `at`.

    With `waits`, each wait is a point too: something can be cancelled there, and nothing can be raised.
    """

    def __init__(
        self, at: Point | None = None, act: Callable[[str], object] | None = None, *, waits: bool = True
    ) -> None:
        self.at = at
        self.act = act
        self.waits = waits
        self.passed: list[Point] = []
        self._times = Counter[str]()
        self._lock = threading.Lock()

    @property
    def reached(self) -> bool:
        return self.at in self.passed

    def reach(self, where: str) -> None:
        with self._lock:
            self._times[where] += 1
            point = where, self._times[where]
            self.passed.append(point)
        if point == self.at and self.act is not None:
            self.act(where)


def fail(where: str) -> None:
    """Break what happens at a point, as the system does."""
    raise OSError(f"it failed at {where}")


class Sockets:
    """The sockets of the client, each connect, read, wait, write, look and close of which is a point."""

    def __init__(self) -> None:
        self.points = Points()
        self._broken = WeakSet[Wire]()

    @contextmanager
    def watched(self) -> Generator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire_file, "_MOST_READ", _MOST_READ)  # so that a reply takes several
            patch.setattr("agentkit.models.client.connections.connect", self._connecting(wire_file.connect))
            patch.setattr(anyio, "wait_readable", self._waiting(anyio.wait_readable))
            patch.setattr(SocketReader, "read", self._waiting(SocketReader.read))
            patch.setattr(Wire, "receive", self._around("read", Wire.receive))
            patch.setattr(Wire, "send", self._around("write", Wire.send))
            patch.setattr(Wire, "is_quiet", self._looking(Wire.is_quiet))
            patch.setattr(Wire, "close", self._closing(Wire.close))
            yield

    def _connecting(self, connect: Callable[..., Any]) -> Callable[..., Any]:
        async def connect_here(*args: Any) -> Wire:
            self.points.reach("connect begins")
            wire: Wire = await connect(*args)
            try:
                self.points.reach("connect ended")
            except BaseException:
                wire.close()
                raise
            return wire

        return connect_here

    def _around(self, what: str, perform: Callable[..., Any]) -> Callable[..., Any]:
        async def perform_here(wire: Wire, *args: Any) -> Any:
            if wire in self._broken:
                raise OSError("it is broken")
            try:
                self.points.reach(f"{what} begins")
                outcome = await perform(wire, *args)
                self.points.reach(f"{what} ended")
            except OSError:
                self._broken.add(wire)  # a connection that failed stays broken
                raise
            return outcome

        return perform_here

    def _waiting(self, wait_readable: Callable[..., Any]) -> Callable[..., Any]:
        async def wait(*args: Any) -> Any:
            self.points.reach("read waits")
            received = await wait_readable(*args)
            self.points.reach("read has something")
            return received

        return wait

    def _looking(self, is_quiet: Callable[[Wire], bool]) -> Callable[[Wire], bool]:
        def look(wire: Wire) -> bool:
            try:
                self.points.reach("look")
            except OSError:
                return False
            return is_quiet(wire)

        return look

    def _closing(self, close: Callable[[Wire], None]) -> Callable[[Wire], None]:
        def close_here(wire: Wire) -> None:
            try:
                self.points.reach("close begins")
            finally:
                close(wire)

        return close_here


class _Waiting(Generic[T]):
    """A coroutine of which each wait is a point."""

    def __init__(self, coroutine: Any, points: Points) -> None:
        self._coroutine = coroutine
        self._points = points

    def __await__(self) -> Generator[Any, Any, T]:
        resume: Callable[[], Any] = partial(self._coroutine.send, None)
        while True:
            try:
                waits_for = resume()
            except StopIteration as end:
                result: T = end.value
                return result
            if self._points.waits:
                self._points.reach("wait")
            try:
                value = yield waits_for
            except BaseException as error:  # noqa: BLE001 (it is the coroutine's to see)
                resume = partial(self._coroutine.throw, error)
            else:
                resume = partial(self._coroutine.send, value)


@dataclass
class PointedModel:
    """A model of which each request, and each wait for its reply, is a point."""

    model: Model
    points: Points

    @property
    def name(self) -> str:
        return self.model.name

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        def forward(chunk: ChatChunk) -> None:
            self.points.reach("chunk")
            assert on_chunk is not None
            on_chunk(chunk)

        self.points.reach("model asked")
        reply = await _Waiting[ChatResponse](self.model.complete(request, on_chunk and forward), self.points)
        self.points.reach("model answered")
        return reply


class Rounds:
    """The endpoint's replies follow from the history, so a request that comes again gets the same reply again."""

    def raw(self, request: Mapping[str, Any]) -> Raw:
        replies = sum(message["role"] == "assistant" and "tool_calls" in message for message in request["messages"])
        whole = _ROUNDS[replies].raw(request)
        body = b"".join([write for write in whole.writes if isinstance(write, bytes)])
        size = len(body) // _PIECES + 1
        return replace(whole, writes=[body[begin : begin + size] for begin in range(0, len(body), size)])


@dataclass
class Log:
    """What became of a run and of what went on from it, in order.

    Attributes:
        called: The tools that whole replies had called, by the events.
        begun: The tools that have begun.
        results: The results by the events, by the ids of the calls.
        early: The tools that have begun before the event of the reply that called them.
        sent: How many messages tools sent.
    """

    called: list[str] = field(default_factory=list[str])
    begun: list[str] = field(default_factory=list[str])
    results: dict[str, str] = field(default_factory=dict[str, str])
    early: list[str] = field(default_factory=list[str])
    sent: int = 0

    def begin(self, name: str) -> None:
        if name not in self.called:
            self.early.append(name)
        self.begun.append(name)

    def observe(self, event: Event) -> None:
        if isinstance(event, StepFinished):
            self.called += [call.name for call in event.step.message.tool_calls]
        elif isinstance(event, ToolFinished):
            self.results[event.call.id] = event.message.content


def agent_of(url: str, log: Log, points: Points, *, attempts: int = 1) -> Agent:
    """Make the agent of the scenario."""

    def begin(name: str) -> None:
        log.begin(name)
        points.reach(f"{name} begun")

    @tool
    def fetch(n: int) -> str:
        begin("fetch")
        points.reach("fetch ends")
        return f"fetched {n}"

    @tool
    async def count(n: int, ctx: ToolContext[None]) -> str:
        begin("count")
        ctx.send(SENT)
        log.sent += 1
        await _Waiting[None](checkpoint(), points)
        points.reach("count ends")
        return f"counted {n}"

    @tool
    def send(n: int) -> str:
        begin("send")
        points.reach("send ends")
        return f"sent {n}"

    def give(state: State) -> list[Any]:
        points.reach("tools asked for")
        return [fetch, count, send]

    async def around(call: ToolCall, context: ToolContext[Any], call_next: CallNext) -> object:
        points.reach(f"around {call.name} begins")
        result = await call_next(call)
        points.reach(f"around {call.name} ends")
        return result

    async def around_request(request: ChatRequest, call_next: SendNext) -> ChatResponse:
        points.reach("around a request begins")
        reply = await call_next(request)
        points.reach("around a request ends")
        return reply

    def observer(event: Event) -> None:
        log.observe(event)
        points.reach(f"told {type(event).__name__}")

    retries = Retries(attempts=attempts, base=0.001, max_delay=0.001, budget=1_000_000)
    model = PointedModel(ChatClient("m", base_url=url, api_key="", retries=retries), points)
    return Agent(model, tools=give, middleware=[around], request_middleware=[around_request], observers=[observer])
