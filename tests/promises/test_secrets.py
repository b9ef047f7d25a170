"""No secret shows in anything that a process can print, whatever the endpoint does with it."""

import asyncio
import copy
import dataclasses
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import anyio
import httpx
import pytest

from agentkit import Agent, AgentkitError, ChatClient, ConfigurationError, Event, Retries, Timeouts
from agentkit.testing import Chaos, Raw, Reply, answer, calling, chaos, cut, refuse, status
from tests.clients import KEY, SSE

pytestmark = pytest.mark.anyio

HEADER = "canary-header-77d1e0"
QUERY = "canary-query-0b4e61"
SECRETS = (KEY, HEADER, QUERY)
ALL = " ".join(SECRETS)
FORM = pytest.mark.parametrize("form", ["plain", "streamed"])
CALLERS = pytest.mark.parametrize("callers", [False, True], ids=["own connections", "a client of the caller's"])


def agent_at(endpoint: Chaos, *, callers: httpx.AsyncClient | None = None, timeout: float = 10, **more: Any) -> Agent:
    async def look(word: str) -> str:
        return f"{word} is found"

    address: dict[str, Any] = {
        "base_url": f"{endpoint.url}?key={QUERY}",
        "api_key": KEY,
        "headers": {"x-api-key": HEADER},
    }
    retries, timeouts = Retries(attempts=2, base=0.001), Timeouts(total=timeout)
    return Agent(ChatClient("m", **address, timeout=timeouts, retries=retries, http=callers), tools=[look], **more)


class Outcome:
    """What a run comes to, with all its events."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.all: list[object] = [self.events]

    async def perform(self, agent: Agent, form: str) -> None:
        self.all.append(agent)
        try:
            if form == "plain":
                result = await agent.run("Hello")
                self.all += [result, result.to_html(agent)]
                return
            async with agent.stream("Hello") as run:
                self.all.append(run)
                async for event in run:
                    self.events.append(event)
                self.all.append(run.result)
        except BaseException as error:
            self.all.append(error)
            raise


_WALKED: tuple[type, ...] = (BaseException, list, tuple, dict, set)


def shown_by(thing: object, seen: set[int] | None = None) -> Iterator[str]:
    """Yield whatever can be printed of something: itself, its parts, and of an error, all frames that it leads to."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    yield repr(thing)
    inside: list[object] = [getattr(thing, "__dict__", None)]
    if isinstance(thing, BaseException):
        yield str(thing)
        error = traceback.TracebackException.from_exception(thing, capture_locals=True)
        foreign = [frame for frame in error.stack if frame.filename != __file__]
        yield "".join([*error.format_exception_only(), *traceback.StackSummary.from_list(foreign).format()])
        frames = [frame for frame, _ in traceback.walk_tb(thing.__traceback__) if frame.f_code.co_filename != __file__]
        inside += [*thing.args, thing.__cause__, thing.__context__, *getattr(thing, "__notes__", ())]
        values = [value for frame in frames for value in frame.f_locals.values()]
        inside += [
            value if isinstance(value, _WALKED) and not hasattr(value, "_fields") else repr(value) for value in values
        ]
        inside += cast("list[object]", list(getattr(thing, "exceptions", ())))
    if isinstance(thing, Mapping):
        inside += [part for pair in cast("Mapping[object, object]", thing).items() for part in pair]
    elif isinstance(thing, list | tuple | set | frozenset):
        inside += list(cast("list[object]", thing))
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        inside += [getattr(thing, field.name) for field in dataclasses.fields(cast("Any", thing))]
    for part in inside:
        yield from shown_by(part, seen)


def copies_of(thing: object) -> Iterator[object]:
    """Yield what becomes of something when it is copied or stored; a client refuses to be stored."""
    copies: list[Callable[[Any], object]] = [pickle.dumps, copy.copy, copy.deepcopy]
    for make_copy in copies:
        try:
            yield make_copy(thing)
        except Exception as error:  # noqa: BLE001 (what cannot be copied says so)
            yield str(error)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        yield dataclasses.asdict(thing)


def assert_hidden(things: list[object]) -> None:
    shown = [text for thing in things for part in (thing, *copies_of(thing)) for text in shown_by(part)]
    assert len(shown) > len(things)
    for text in shown:
        for secret in SECRETS:
            position = text.find(secret)
            assert position < 0, text[max(0, position - 300) : position + 100]


@pytest.fixture
def logged() -> Iterator[list[object]]:
    """Take down whatever is logged, by everyone, at any level."""
    lines: list[object] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.extend([self.format(record), vars(record)])

    root, handler = logging.getLogger(), Lines(logging.DEBUG)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(before)


def error(body: object, code: int = 401) -> Raw:
    return status(code, {"x-request-id": ALL, "retry-after": "0", "x-key": KEY}, body)


def event(data: object, name: str = "") -> Raw:
    text = f"event: {name}\n" if name else ""
    return Raw([f"{text}data: {json.dumps(data)}\n\n".encode()], headers=SSE)


# Headers that an endpoint makes up are logged by the HTTP library of a caller at DEBUG; all others are replies whose headers are clean.
ECHOES: dict[str, Reply] = {
    "an error": error({"error": {"message": f"Wrong key {ALL}", "code": KEY, "type": QUERY, "param": HEADER}}),
    "an error in a list": error([{"error": {"message": ALL, "status": KEY}}]),
    "details": error({"detail": [{"msg": ALL, "loc": [KEY]}]}, 422),
    "a text as error": error({"error": ALL}, 500),
    "an error with nothing known": error({"headers": {"authorization": f"Bearer {KEY}"}, "all": ALL}, 400),
    "text": error(f"Wrong: {ALL}".encode(), 403),
    "a page": error(f"<html><title>{ALL}</title><p>{ALL}</html>".encode(), 404),
    "a page that is no error": Raw([f"<html><title>{KEY}</title>{ALL}</html>".encode()]),
    "what is not JSON": Raw([f"oops {ALL}".encode()]),
    "JSON that is cut": Raw([f'{{"choices": "{ALL}'.encode()]),
    "a text of JSON": Raw([json.dumps(ALL).encode()]),
    "a redirect": status(307, {"location": f"https://b.example/?key={QUERY}&k={KEY}"}),
    "too many requests": error({"error": {"message": ALL}}, 429),
    "an error inside": Raw([json.dumps({"error": {"message": ALL, "code": KEY}}).encode()]),
    "an error event": event({"error": {"message": ALL}}, "error"),
    "an error event of text": event(ALL, "error"),
    "an error in a stream": event({"error": {"message": ALL, "code": KEY}}),
    "a stream that is not JSON": Raw([f"data: {{{ALL}\n\n".encode()], headers=SSE),
    "choices that are none": event({"choices": ALL}),
    "a cut answer": cut(answer(f"It is {ALL}."), after_bytes=190, then="end"),
    "cut calls": event({"choices": [{"delta": {"tool_calls": [{"id": KEY, "function": {"name": QUERY, "arguments": f'"{ALL}'}}]}}]}),
    "a strange packing": Raw([b"x"], headers={"content-encoding": KEY}),
    "a strange status": error(ALL.encode(), 599),
}  # fmt: skip


@FORM
@CALLERS
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # what an endpoint says is read alike on both
@pytest.mark.parametrize("name", ECHOES)
async def test_no_error_shows_a_secret(name: str, form: str, callers: bool) -> None:
    outcome = Outcome()
    with chaos(ECHOES[name]) as endpoint:
        async with httpx.AsyncClient() as http:
            with pytest.raises(AgentkitError):
                await outcome.perform(agent_at(endpoint, callers=http if callers else None), form)
        assert endpoint.headers[0]["authorization"].removeprefix("Bearer ") == KEY
        assert endpoint.headers[0]["x-api-key"] == HEADER
    assert_hidden(outcome.all)


FAULTS: dict[str, Reply] = {
    "stall": refuse("stall"),
    "reset": refuse("reset"),
    "close": refuse("close"),
    "garbage": Raw([b"SSH-2.0-x\r\n"], status=None),
    "cut": cut(answer("x" * 200), after_bytes=50),
    "dead": answer("x"),
}


@FORM
@CALLERS
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_failure_of_a_connection_shows_a_secret(fault: str, form: str, callers: bool) -> None:
    outcome = Outcome()
    with chaos(FAULTS[fault]) as endpoint:
        if fault == "dead":
            endpoint.url = "http://127.0.0.1:9/v1"
        async with httpx.AsyncClient() as http:
            with pytest.raises(AgentkitError):
                await outcome.perform(agent_at(endpoint, callers=http if callers else None, timeout=0.1), form)
    assert_hidden(outcome.all)


@FORM
@pytest.mark.parametrize("cut_at", [None, 0, 60])
async def test_no_cancellation_shows_a_secret(cut_at: int | None, form: str) -> None:
    outcome = Outcome()
    reply: Reply = refuse("stall") if cut_at is None else cut(answer("x" * 200), after_bytes=cut_at, then="stall")
    with chaos(reply) as endpoint:
        async with anyio.create_task_group() as group:
            group.start_soon(outcome.perform, agent_at(endpoint), form)
            with anyio.fail_after(60):
                while not endpoint.requests:
                    await anyio.lowlevel.checkpoint()
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    raised = [type(part) for part in outcome.all if isinstance(part, BaseException)]
    assert raised == [anyio.get_cancelled_exc_class()]
    assert_hidden(outcome.all)


@FORM
async def test_no_run_and_no_log_shows_a_secret(form: str, logged: list[object]) -> None:
    """Not at DEBUG either, of all libraries, with an event loop that watches its tasks."""
    outcome = Outcome()
    if (library := anyio.get_cancelled_exc_class()) is asyncio.CancelledError:
        asyncio.get_running_loop().set_debug(True)
        asyncio.get_running_loop().slow_callback_duration = 0
    script: list[Reply] = [status(500), calling(("look", {"word": "a"})), answer("done")]
    with chaos(*script, faults={3: cut(after_bytes=9)}) as endpoint, chaos(refuse("stall")) as silent:
        agent = agent_at(endpoint, observers=[outcome.events.append])
        await outcome.perform(agent, form)
        with pytest.raises(AgentkitError):
            await Outcome().perform(agent_at(silent, timeout=0.05), form)
    if library is asyncio.CancelledError:
        asyncio.get_running_loop().set_debug(False)
    assert len(logged) > 3
    assert_hidden([*outcome.all, *logged])


@pytest.mark.parametrize("wrong", [
    {"api_key": f"{KEY}\n{HEADER}"}, {"headers": {"x-api-key": f"{HEADER}\x00"}}, {"base_url": f"http://{KEY}:{HEADER}@a.example/v1"},
    {"base_url": f"ftp://a.example/?key={QUERY}"}, {"base_url": f"http://[::?key={QUERY}"}, {"base_url": f"http://a.example:99999/?key={QUERY}"},
])  # fmt: skip
def test_no_mistake_in_a_client_shows_a_secret(wrong: dict[str, Any]) -> None:
    options: dict[str, Any] = {"base_url": "http://a.example/v1", "api_key": "", **wrong}
    with pytest.raises(ConfigurationError) as caught:
        ChatClient("m", **options)
    assert_hidden([caught.value])
