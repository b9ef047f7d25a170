"""The server: an ASGI app with no dependencies of its own."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from time import time
from types import NoneType
from typing import Any, Literal, TypeAlias

from anyio import create_task_group, current_time, to_thread

from agentkit.agent.agent import Agent
from agentkit.agent.opened import OpensAgent, is_agent, open_agent
from agentkit.core.chat import Settings
from agentkit.core.concurrency import Limiter
from agentkit.core.errors import ConfigurationError, InvalidRequest
from agentkit.core.json import decode, encode
from agentkit.core.reply_limits import values_in
from agentkit.core.session import Session
from agentkit.runs.lifecycle import RunInput
from agentkit.runs.plan import Plan
from agentkit.server.access import LOOPBACK, Access
from agentkit.server.approvals import Approvals
from agentkit.server.asgi import JSON_HEADERS, ClientDisconnected, HttpExchange, Receive, Scope, Send
from agentkit.server.client_calls import ClientCallStore
from agentkit.server.conversations import CONVERSATION_ID, Conversations, SessionStore
from agentkit.server.errors import HttpError, error_of_run, invalid_field
from agentkit.server.limits import Bounds
from agentkit.server.page import Page, read_pages
from agentkit.server.places import Places
from agentkit.server.policies import Policies
from agentkit.server.request import CompletionRequest, parse_request
from agentkit.server.response import Failed, Finished, PartQueue, Writer, writer_for
from agentkit.server.runner import ServedRun, approver_for, conversation_for, plan_for, run_choice
from agentkit.server.shown_runs import ShownRuns
from agentkit.tools.approval import Approver

Handler: TypeAlias = Callable[[HttpExchange], Awaitable[None]]

_BOUNDS = Bounds()
_SPARE = 5.0
"""Seconds that a run has to end at its own limit before it is cancelled."""
_LARGE = 100_000
"""Bytes of a request from which it is read in a thread; `_READERS` of them at once."""
_READERS = 4
_READ = "GET, HEAD"
_CONVERSATION = re.compile(rf"(?P<agent>.+)/conversations(/(?P<id>{CONVERSATION_ID.pattern}))?")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


class ChatServer:
    """Agents behind `POST /v1/chat/completions`: an ASGI app, to serve as it is or to mount in another.

    The agent's own tools run here, under its own policy. A client may bring tools of its own: the model sees them
    beside the agent's, and calls of them are sent to the client.

        app = ChatServer(agent, keys=["sk-…"])
        serve(app)

    Args:
        agents: An agent, served under its own name, or agents by the names that clients send as `model`. In the place
            of an agent, a function that returns an async context manager is opened when the server starts and closed
            when it stops: for tools of an MCP server, for example.
        keys: The API keys. Without keys, everyone may ask who uses one of the `hosts`.
        hosts: The `Host` headers that a server without keys accepts; `"*"` for any. By default those of this machine.
        approver: Decides on calls of the agents' tools that need approval. Without one, these are denied. With
            `"client"`, the client decides that asked for events, as the page does; other clients' calls are denied.
        deps: The agents' dependencies, as in `Agent.run`.
        bounds: The limits of the server.
        page: Whether to serve a page at `/` to try the agents with, and their policies, which it shows.
        events: Whether clients may ask for events with the arguments and results of the agents' tools.
        passed: The names of further request fields that are passed on to the model's endpoint.
        sessions: Where the server keeps conversations for clients that ask for it by the field `conversation`, such as
            `Sqlite("chats.db")`. The page then lists them.
        show_runs: Whether everyone who may ask also sees the runs of all clients, at `/v1/runs`: their prompts, system
            prompts, tool calls and results. `agentkit view --live URL` follows them.

    Raises:
        ConfigurationError: If there is no agent, a key is empty, `deps` are missing, `passed` has a known field, or
            clients are to approve calls that they do not see, without `events`.
    """

    def __init__(  # noqa: PLR0913 (each is an option of its own)
        self,
        agents: Agent[Any, Any] | Mapping[str, Agent[Any, Any] | OpensAgent],
        *,
        keys: str | Collection[str] = (),
        hosts: Collection[str] = LOOPBACK,
        approver: Approver | Literal["client"] | None = None,
        deps: object = None,
        bounds: Bounds = _BOUNDS,
        page: bool = False,
        events: bool = False,
        passed: Collection[str] = (),
        sessions: SessionStore | None = None,
        show_runs: bool = False,
    ) -> None:
        by_name: Mapping[str, Agent[Any, Any] | OpensAgent] = (
            {agents.name: agents} if isinstance(agents, Agent) else agents
        )
        self._names = tuple(by_name)
        self._opens = {name: agent for name, agent in by_name.items() if not is_agent(agent)}
        self._plans = {name: agent.plan for name, agent in by_name.items() if is_agent(agent)}
        _check_options(self._names, passed)
        for name, plan in self._plans.items():
            _check_deps(name, plan, deps)
        self.access = Access(keys, hosts)
        self.bounds = bounds
        if approver == "client" and not events:
            raise ConfigurationError(
                'a client sees the calls that it approves: ChatServer(…, approver="client", events=True)'
            )
        self._approver = None if approver == "client" else approver
        self._approvals = Approvals() if approver == "client" else None
        self._conversations = None if sessions is None else Conversations(sessions)
        self._shown = ShownRuns() if show_runs else None
        self._deps = deps
        self._policies = Policies(self._plans if page else {})
        self._events = events
        self._passed = frozenset(passed)
        self._created = int(time())
        self._store = ClientCallStore(bounds)
        self._places = Places(bounds)
        self._readers = Limiter(_READERS)
        self._routes: Mapping[str, tuple[str, Handler]] = {
            "/v1/chat/completions": ("POST", self._complete),
            "/v1/models": (_READ, self._list_models),
            "/healthz": (_READ, self._health),
            **({} if self._shown is None else {"/v1/runs": ("GET", partial(self._send_runs, self._shown))}),
            **({path: (_READ, partial(_send_page, file)) for path, file in read_pages().items()} if page else {}),
        }

    def __repr__(self) -> str:
        return f"ChatServer({', '.join(self._names)})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        match scope["type"]:
            case "lifespan":
                await self._lifespan(receive, send)
            case "http":
                await self._serve(HttpExchange(scope, receive, send))
            case _:
                await send({"type": "websocket.close", "code": 1000})

    async def drain(self) -> None:
        """Refuse new requests, and wait for the running ones; cancel them after `Bounds(grace=…)` seconds.

        This happens by itself when a server shuts down. An app that is mounted in another gets no such message: call
        this where the other one shuts down.
        """
        await self._places.drain()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            while (await receive())["type"] == "lifespan.startup":
                try:
                    await self._open_agents(stack)
                except Exception as error:  # noqa: BLE001 (the server that serves the app says it and ends)
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                self._places.stopping = False
                await send({"type": "lifespan.startup.complete"})
            await self.drain()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open_agents(self, stack: AsyncExitStack) -> None:
        for name, opens in self._opens.items():
            plan = (await open_agent(opens, stack)).plan
            _check_deps(name, plan, self._deps)
            self._plans[name] = plan
            stack.callback(self._plans.pop, name)

    async def _serve(self, exchange: HttpExchange) -> None:
        try:
            await self._handler(exchange)(exchange)
        except ClientDisconnected:
            pass
        except HttpError as error:
            await exchange.fail(error)
        except Exception as error:  # noqa: BLE001 (the client gets a response in any case)
            await exchange.fail(error_of_run(error, acted=False, incident=exchange.id))

    def _handler(self, exchange: HttpExchange) -> Handler:
        path = exchange.path.rstrip("/")
        methods, handler = self._route(path)
        if exchange.method not in methods.split(", "):
            raise HttpError(405, f"{path[:200] or '/'} takes {methods}", headers={"allow": methods})
        return handler

    def _route(self, path: str) -> tuple[str, Handler]:
        """Return the methods of a path, and what handles them."""
        if path in self._routes:
            return self._routes[path]
        match path:
            case _ if path.startswith("/v1/approvals/") and self._approvals is not None:
                return "POST", partial(self._approve, self._approvals)
            case _ if path.startswith("/v1/models/"):
                return self._route_of_model(path.removeprefix("/v1/models/"))
            case _:
                raise HttpError(404, f"there is nothing at {path[:200] or '/'}", code="not_found")

    def _route_of_model(self, name: str) -> tuple[str, Handler]:
        found = _CONVERSATION.fullmatch(name)
        if self._conversations is None or found is None or name in self._plans:
            return _READ, self._get_model
        methods = f"{_READ}, DELETE" if found["id"] else _READ
        return methods, partial(self._serve_conversation, self._conversations, found["agent"], found["id"])

    async def _health(self, exchange: HttpExchange) -> None:
        status = "stopping" if self._places.stopping else "ok"
        await exchange.respond(503 if self._places.stopping else 200, encode({"status": status}), JSON_HEADERS)

    async def _send_runs(self, shown: ShownRuns, exchange: HttpExchange) -> None:
        self.access.check(exchange)
        await shown.send(exchange)

    async def _list_models(self, exchange: HttpExchange) -> None:
        self.access.check(exchange)
        models = [self._model_dict(name) for name in self._plans]
        await exchange.respond(200, encode({"object": "list", "data": models}), JSON_HEADERS)

    async def _get_model(self, exchange: HttpExchange) -> None:
        self.access.check(exchange)
        name = exchange.path.removeprefix("/v1/models/").rstrip("/")
        if name not in self._plans and self._policies.has(name):
            await exchange.respond(200, *await self._policies.view(name))
            return
        self._plan_of(name)
        await exchange.respond(200, encode(self._model_dict(name)), JSON_HEADERS)

    async def _serve_conversation(
        self, conversations: Conversations, agent: str, id_: str | None, exchange: HttpExchange
    ) -> None:
        """List the conversations with an agent, or show or delete one."""
        key = self.access.check(exchange)
        plan = self._plan_of(agent)
        if id_ is None:
            data = await conversations.listed(agent, key)
        elif exchange.method == "DELETE":
            data = await conversations.delete(agent, key, id_)
        else:
            data = await conversations.view(plan, agent, key, id_, tools=self._events)
        await exchange.respond(200, encode(data), JSON_HEADERS)

    async def _approve(self, approvals: Approvals, exchange: HttpExchange) -> None:
        key = self.access.check(exchange)
        body = _decoded(await _read_body(exchange, replace(self.bounds, body=min(_LARGE, self.bounds.body))))
        id_ = exchange.path.removeprefix("/v1/approvals/").rstrip("/")
        approved = approvals.decide(key, id_, body)
        data = {"id": id_, "object": "approval", "approved": approved}
        await exchange.respond(200, encode(data), JSON_HEADERS)

    def _model_dict(self, name: str) -> dict[str, object]:
        model: dict[str, object] = {"id": name, "object": "model", "created": self._created, "owned_by": "agentkit"}
        return model if self._conversations is None else model | {"conversations": True}

    def _plan_of(self, name: str) -> Plan:
        if name in self._opens and name not in self._plans:
            raise HttpError(503, f"{name} is not open: the app got no lifespan messages", code="not_open")
        if name not in self._plans:
            text = f"there is no model {name[:80]!r}; GET /v1/models lists the models"
            raise HttpError(404, text, param="model", code="model_not_found")
        return self._plans[name]

    async def _complete(self, exchange: HttpExchange) -> None:
        key = self.access.check(exchange)
        with self._places.take(key or exchange.client) as place:
            request = await self._read(exchange)
            place.uploading = False
            plan = self._plan_of(request.model)
            served = await self._served_run(plan, request, key)
            grace = plan.limits.grace if plan.limits.at_end == "answer" else 0
            place.scope.deadline = current_time() + self.bounds.seconds + grace + _SPARE
            await _run_choices(served, exchange, writer_for(request, exchange), self.bounds)

    async def _read(self, exchange: HttpExchange) -> CompletionRequest:
        """Read and check a request; a large one in a thread, so that others are served meanwhile."""
        body = await _read_body(exchange, self.bounds)
        parse = partial(_parse, body, self.bounds, self._passed)
        if len(body) < _LARGE:
            return parse()
        async with self._readers.here():
            return await to_thread.run_sync(parse)

    async def _served_run(self, agent: Plan, request: CompletionRequest, key: str) -> ServedRun:
        plan, owner = plan_for(agent, request, self.bounds.seconds), (request.model, key)
        approver = approver_for(self._approver, request.tool_names, agent.threads)
        session = await self._session_of(request, key)
        messages = request.messages
        if session is None:
            messages = self._store.restore(owner, conversation_for(agent, messages, request.tool_names))
        events = request.events and self._events
        approvals = self._approvals if events and request.stream else None
        given = RunInput(messages, self._deps, approver, session)
        return ServedRun(plan, given, request, owner, self._store, events, approvals, self._shown)

    async def _session_of(self, request: CompletionRequest, key: str) -> Session | None:
        """Return the session of the conversation that a request continues, if it names one."""
        if request.conversation is None:
            return None
        if self._conversations is None:
            raise invalid_field("conversation", "this server keeps no conversations; send all messages")
        session = self._conversations.session(request.model, key, request.conversation)
        if not (request.messages or (await session.load()).size):
            raise invalid_field("messages", "messages must not be empty: the conversation has not begun")
        return session


def _check_deps(name: str, plan: Plan, deps: object) -> None:
    if deps is None and plan.deps_type is not NoneType:
        needed = plan.deps_type.__name__
        raise ConfigurationError(f"the tools of {name!r} need a {needed}: pass ChatServer(…, deps=…)")


def _check_options(names: Collection[str], passed: Collection[str]) -> None:
    if not names:
        raise ConfigurationError("a server needs at least one agent")
    try:
        Settings(extra=dict.fromkeys(passed))
    except InvalidRequest as error:
        raise ConfigurationError(f"`passed` has a field that the server knows: {error}") from None


async def _send_page(page: Page, exchange: HttpExchange) -> None:
    await exchange.respond(200, page.body, page.headers)


async def _read_body(exchange: HttpExchange, bounds: Bounds) -> bytes:
    kind = exchange.header("content-type").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HttpError(415, "the content-type must be application/json")
    if exchange.header("content-encoding").lower() not in ("", "identity"):
        raise HttpError(415, "the body must not be compressed")
    return await exchange.body(bounds.body, bounds.upload)


def _parse(body: bytes, bounds: Bounds, passed: Collection[str]) -> CompletionRequest:
    # What looks like a value within a string is counted exactly only where that matters.
    if values_in(body) > bounds.values < values_in(_STRING.sub(b"", body)):
        text = f"the request has more than {bounds.values} JSON values"
        raise HttpError(413, text, code="request_too_large")
    return parse_request(_decoded(body), bounds, passed)


def _decoded(body: bytes) -> object:
    try:
        return decode(body)
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON: {error}"[:300]) from None


async def _run_choices(served: ServedRun, exchange: HttpExchange, writer: Writer, bounds: Bounds) -> None:
    """Run the agent for all choices concurrently, as long as the client is connected."""
    parts, count = PartQueue(), served.request.n
    failed: Failed | None = None
    async with create_task_group() as group:

        async def cancel_without_client() -> None:
            await exchange.until_disconnected()
            group.cancel_scope.cancel()

        group.start_soon(cancel_without_client)
        for index in range(count):
            group.start_soon(run_choice, served, index, parts.put)
        failed = await _write_all(parts, writer, count, bounds.alive)
        group.cancel_scope.cancel()
    if failed is not None:
        raise error_of_run(failed.error, acted=failed.acted or count > 1, incident=exchange.id)


async def _write_all(parts: PartQueue, writer: Writer, count: int, alive: float) -> Failed | None:
    """Write the parts until all choices have finished, or one has failed."""
    while count:
        part = await parts.get(alive)
        if isinstance(part, Failed):
            return part
        await writer.write(part)
        count -= isinstance(part, Finished)
    await writer.end()
    return None
