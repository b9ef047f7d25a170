"""The server: an ASGI app, and nothing that is not in this package."""

from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from time import time
from types import NoneType
from typing import Any, TypeAlias

from anyio import CancelScope, Event, create_task_group, current_time, move_on_after

from agentkit.agent.agent import Agent
from agentkit.core.chat import Settings
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.json import decode, encode
from agentkit.runs.lifecycle import RunInput
from agentkit.runs.plan import Plan
from agentkit.server.access import LOOPBACK, Access
from agentkit.server.asgi import JSON, Exchange, Gone, Receive, Scope, Send
from agentkit.server.client_calls import Handovers
from agentkit.server.errors import Refusal, refusal_of
from agentkit.server.limits import Bounds
from agentkit.server.page import Page
from agentkit.server.page import page as page_of
from agentkit.server.request import Asked, asked_in
from agentkit.server.response import Channel, Ended, Failed, Reply, reply_to
from agentkit.server.runner import Turn, allowed_by, conversation, plan_for, take
from agentkit.tools.approval import Approver

Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]

_BOUNDS = Bounds()
_SPARE = 5.0
"""Seconds that a run has to end at its own limit before it is stopped."""


class ChatServer:
    """Agents behind `POST /v1/chat/completions`: an ASGI app, to be served as it is or mounted in another.

    The agent's own tools run here, under its own policy. Tools that a client brings are offered to the model beside
    them, and calls of those are handed to the client.

    Args:
        agents: The agent, which goes by its own name, or agents by the names that clients select them by, as `model`.
        keys: The keys that clients may have. Without any, everyone may ask who does so under one of the `hosts`.
        hosts: The names that a server without keys goes by, as in the header `Host`; `"*"` for any. Unless given, those
            that a machine has for itself.
        approver: Decides on calls of the agents' tools that need approval. Without one, these are not run.
        deps: What the agents' tools may ask for, as `Agent.run` is given it.
        bounds: What is taken at most.
        page: Whether there is a page at `/` to try the agents with.
        events: Whether clients may ask to be told what the agents' tools are called with, and what they return.
        passed: The fields of a request, beside those that are known, that are passed on to the model's endpoint.

    Raises:
        ConfigurationError: If it cannot work so.
    """

    def __init__(  # noqa: PLR0913 (each is one thing to decide on)
        self,
        agents: Agent[Any, Any] | Mapping[str, Agent[Any, Any]],
        *,
        keys: str | Collection[str] = (),
        hosts: Collection[str] = LOOPBACK,
        approver: Approver | None = None,
        deps: object = None,
        bounds: Bounds = _BOUNDS,
        page: bool = False,
        events: bool = False,
        passed: Collection[str] = ("seed",),
    ) -> None:
        named = {agents.name: agents} if isinstance(agents, Agent) else agents
        self._plans = {name: each.plan for name, each in named.items()}
        _check(self._plans, deps, passed)
        self.access = Access(keys, hosts)
        self.bounds = bounds
        self._approver = approver
        self._deps = deps
        self._page = page_of() if page else None
        self._events = events
        self._passed = frozenset(passed)
        self._made = int(time())
        self._handovers = Handovers(bounds)
        self._running: set[CancelScope] = set()
        self._draining = False
        self._idle = Event()

    def __repr__(self) -> str:
        return f"ChatServer({', '.join(self._plans)})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        match scope["type"]:
            case "lifespan":
                await self._live(receive, send)
            case "http":
                await self._serve(Exchange(scope, receive, send))
            case _:
                await send({"type": "websocket.close", "code": 1000})

    async def drain(self) -> None:
        """Take no more requests, and wait until those that run have ended; after the time of grace, they are stopped.

        It is what happens when a server says that it stops. An app that is mounted in another is not told that: call
        this where the other one stops.
        """
        self._draining = True
        if self._running:
            self._idle = Event()
            with move_on_after(self.bounds.grace):
                await self._idle.wait()
            for scope in self._running:
                scope.cancel()
            await self._idle.wait()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            if (await receive())["type"] == "lifespan.startup":
                self._draining = False
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.drain()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._handler(exchange)(exchange)
        except Gone:
            pass
        except Refusal as refusal:
            await exchange.fail(refusal)
        except Exception as error:  # noqa: BLE001 (whatever it is, the client is told that it was not answered)
            await exchange.fail(refusal_of(error, acted=False))

    def _handler(self, exchange: Exchange) -> Handler:
        """Find what a request is for."""
        path = exchange.path.rstrip("/")
        routes: dict[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", self._complete),
            "/v1/models": ("GET, HEAD", self._models),
            "/healthz": ("GET, HEAD", self._health),
        }
        if self._page is not None:
            routes[""] = ("GET, HEAD", partial(_show, self._page))
        method, handler = routes.get(path, ("GET, HEAD", self._model))
        if path not in routes and not path.startswith("/v1/models/"):
            raise Refusal(404, f"there is nothing at {path[:200] or '/'}", code="not_found")
        if exchange.method not in method.split(", "):
            raise Refusal(405, f"{path[:200] or '/'} takes {method}", headers={"allow": method})
        return handler

    async def _health(self, exchange: Exchange) -> None:
        status = "stopping" if self._draining else "ok"
        await exchange.reply(503 if self._draining else 200, encode({"status": status}), JSON)

    async def _models(self, exchange: Exchange) -> None:
        self.access.check(exchange)
        listed = [self._described(name) for name in self._plans]
        await exchange.reply(200, encode({"object": "list", "data": listed}), JSON)

    async def _model(self, exchange: Exchange) -> None:
        self.access.check(exchange)
        name = exchange.path.removeprefix("/v1/models/").rstrip("/")
        self._plan(name)
        await exchange.reply(200, encode(self._described(name)), JSON)

    def _described(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self._made, "owned_by": "agentkit"}

    def _plan(self, name: str) -> Plan:
        if name not in self._plans:
            said = f"there is no model {name[:80]!r} here; GET /v1/models lists those that are"
            raise Refusal(404, said, param="model", code="model_not_found")
        return self._plans[name]

    async def _complete(self, exchange: Exchange) -> None:
        key = self.access.check(exchange)
        with self._slot() as scope:
            asked = asked_in(await _read(exchange, self.bounds), self.bounds, self._passed)
            agent = self._plan(asked.model)
            turn = self._turn(agent, asked, key)
            last = agent.limits.grace if agent.limits.at_end == "answer" else 0
            scope.deadline = current_time() + self.bounds.seconds + last + _SPARE
            await _perform(turn, exchange, reply_to(asked, exchange), self.bounds)
        if scope.cancelled_caught:
            raise _stopping() if self._draining else Refusal(504, "there was no answer in time", code="timeout")

    def _turn(self, agent: Plan, asked: Asked, key: str) -> Turn:
        """Make what the runs for a request need."""
        plan, owner = plan_for(agent, asked, self.bounds.seconds), (asked.model, key)
        messages = self._handovers.restored(owner, conversation(agent, asked.messages))
        given = RunInput(messages, self._deps, allowed_by(self._approver, asked.names, agent.threads))
        return Turn(plan, given, asked, owner, self._handovers, events=asked.events and self._events)

    @contextmanager
    def _slot(self) -> Generator[CancelScope]:
        """Take a place among the requests that are answered."""
        if self._draining:
            raise _stopping()
        if len(self._running) >= self.bounds.requests:
            raise Refusal(429, "all places are taken; try again soon", code="server_busy", headers={"retry-after": "1"})
        with CancelScope() as scope:
            self._running.add(scope)
            try:
                yield scope
            finally:
                self._running.remove(scope)
                if not self._running:
                    self._idle.set()


def _check(plans: Mapping[str, Plan], deps: object, passed: Collection[str]) -> None:
    if not plans:
        raise ConfigurationError("a server needs at least one agent")
    for name, plan in plans.items():
        if deps is None and plan.deps_type is not NoneType:
            raise ConfigurationError(
                f"the tools of {name!r} ask for a {plan.deps_type.__name__}: ChatServer(…, deps=…) gives it"
            )
    try:
        Settings(extra=dict.fromkeys(passed))
    except InvalidRequest as error:
        raise ConfigurationError(f"passed names a field that is known: {error}") from None


async def _show(page: Page, exchange: Exchange) -> None:
    await exchange.reply(200, page.body, page.headers)


def _stopping() -> Refusal:
    return Refusal(503, "the server is stopping", code="stopping", headers={"retry-after": "5", "connection": "close"})


async def _read(exchange: Exchange, bounds: Bounds) -> object:
    kind = exchange.header("content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "the content-type must be application/json")
    if exchange.header("content-encoding").lower() not in ("", "identity"):
        raise Refusal(415, "the body must not be compressed")
    body = await exchange.body(bounds.body, bounds.upload)
    try:
        return decode(body)
    except ValueError as error:
        raise Refusal(400, f"the body is not JSON: {error}"[:300]) from None


async def _perform(turn: Turn, exchange: Exchange, reply: Reply, bounds: Bounds) -> None:
    """Do the runs of a request at once, as long as the client is there."""
    channel, failed = Channel(), None
    async with create_task_group() as group:
        group.start_soon(_leave, exchange, group.cancel_scope)
        for index in range(turn.asked.n):
            group.start_soon(partial(take, turn, index, channel.put))
        failed = await _written(channel, reply, turn.asked.n, bounds.alive)
        group.cancel_scope.cancel()
    if failed is not None:
        raise refusal_of(failed.error, acted=failed.acted or turn.asked.n > 1)


async def _leave(exchange: Exchange, scope: CancelScope) -> None:
    await exchange.until_gone()
    scope.cancel()


async def _written(channel: Channel, reply: Reply, count: int, alive: float) -> Failed | None:
    """Write what the runs say until all have ended, or one has failed."""
    while count:
        piece = await channel.get(alive)
        if isinstance(piece, Failed):
            return piece
        await reply.take(piece)
        count -= isinstance(piece, Ended)
    await reply.end()
    return None
