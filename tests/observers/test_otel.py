"""Spans and metrics, checked against the official names, of events made by hand and of real runs."""

import inspect
import json
import logging
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode

from agentkit import Agent, ChatClient, ChatRequest, Limits, Retries, Settings, Sqlite, TextDelta, ToolChoice, tool
from agentkit.core.chat import ChatResponse
from agentkit.core.errors import LimitReached, MissingExtra, RateLimited
from agentkit.core.messages import AssistantMessage, ToolMessage
from agentkit.core.model import OnChunk
from agentkit.observers import otel
from agentkit.observers.otel import Spans
from agentkit.runs.events import Event, Nested, RunStarted, StepFinished, StepStarted, ToolFinished, ToolStarted
from agentkit.testing import chaos, status
from agentkit.tool_choice import first, given
from tests.endpoint import Json, calls, serving, text
from tests.observers.events import CALL, SECRET, STEP, all_kinds, events_of, request
from tests.scripted import Scripted, called, said

OFFICIAL = {
    value
    for module in (gen_ai_attributes, error_attributes, server_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}
OPERATIONS = {operation.value for operation in vars(gen_ai_attributes)["GenAiOperationNameValues"]}
FORMER = set(re.findall(r'= "(.+)"\n"""\nDeprecated: Re(?:moved|placed)', inspect.getsource(gen_ai_attributes)))
"""What the conventions once had. The others are marked as deprecated too, since they moved to another repository."""


class Watched:
    """Spans and metrics, kept in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracers.get_tracer("tests")
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])

    def observer(self, **more: Any) -> Spans:
        return Spans(self.tracers, meter_provider=self.meters, **more)

    def observe(self, events: list[Event], **more: Any) -> Spans:
        observer = self.observer(**more)
        for event in events:
            observer(event)
        return observer

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they began."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def span(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def tree(self, parent: int | None = None) -> list[Any]:
        """The names of the spans, each with what is below it."""
        below = [span for span in self.spans if (span.parent.span_id if span.parent else None) == parent]
        return [(item.name, *self.tree(id_of(item))) for item in below]

    def metrics(self) -> dict[str, list[HistogramDataPoint]]:
        read = self.reader.get_metrics_data()
        assert read is not None
        metrics = [item for of in read.resource_metrics for scope in of.scope_metrics for item in scope.metrics]
        found = {item.name: [*item.data.data_points] for item in metrics}
        assert all(isinstance(point, HistogramDataPoint) for points in found.values() for point in points)
        return {
            name: [point for point in points if isinstance(point, HistogramDataPoint)] for name, points in found.items()
        }

    def points(self, name: str) -> list[HistogramDataPoint]:
        return self.metrics().get(name, [])


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[Watched]:
    """Nothing may be left in the context, and OpenTelemetry may complain of nothing."""
    before, made = get_current(), Watched()
    with caplog.at_level(logging.DEBUG, logger="opentelemetry"):
        yield made
    assert get_current() is before
    assert [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")] == []
    made.tracers.shutdown()
    made.meters.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def without_operation(span: ReadableSpan) -> dict[str, Any]:
    rest = attributes(span)
    assert (rest.pop("gen_ai.operation.name"), rest.pop("gen_ai.provider.name")) == (span.name.split()[0], "openai")
    return rest


def test_the_spans_of_a_run(watched: Watched) -> None:
    asked = StepStarted(0, ToolChoice("required"), request("get_time", "get_weather", "get_date"))
    result = ToolFinished(CALL, ToolMessage("c0", "rain"), 0.25)
    watched.observe(events_of(asked, StepFinished(STEP), ToolStarted(CALL), result))
    assert watched.tree() == [("invoke_agent weather", ("chat m",), ("execute_tool get_weather",))]
    agent, chat, tool = watched.spans
    assert (agent.kind, chat.kind, tool.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.INTERNAL)
    assert {span.status.status_code for span in watched.spans} == {StatusCode.UNSET}
    assert [without_operation(span) for span in watched.spans] == [
        {
            "gen_ai.agent.name": "weather",
            "gen_ai.request.model": "m",
            "gen_ai.usage.input_tokens": 20,
            "gen_ai.usage.output_tokens": 10,
            "agentkit.run_id": "r1",
            "agentkit.stop": "answer",
        },
        {
            "gen_ai.request.model": "m",
            "gen_ai.response.finish_reasons": ("tool_calls",),
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 5,
            "agentkit.step": 0,
            "agentkit.tool_choice": "required",
        },
        {
            "gen_ai.tool.name": "get_weather",
            "gen_ai.tool.call.id": "c0",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": "About get_weather.",
            "agentkit.outcome": "ok",
        },
    ]


@pytest.mark.parametrize("content", [False, True])
def test_all_names_are_official_ones_or_our_own(content: bool, watched: Watched) -> None:
    watched.observe(all_kinds(), content=content)
    names = {name for span in watched.spans for name in attributes(span)}
    metrics = ("gen_ai.client.token.usage", "gen_ai.client.operation.duration")
    names |= {name for metric in metrics for point in watched.points(metric) for name in point.attributes or {}}
    assert {name for name in names if not name.startswith("agentkit.")} <= OFFICIAL - FORMER
    assert {name for name in names if name.startswith("agentkit.")} <= {
        f"agentkit.{name}" for name in ("run_id", "stop", "step", "tool_choice", "violation", "outcome")
    }
    assert {attributes(span)["gen_ai.operation.name"] for span in watched.spans} <= OPERATIONS
    assert metrics == (gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE, gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION)


def test_content_is_opt_in(watched: Watched) -> None:
    watched.observe(all_kinds())
    assert watched.spans
    assert all(SECRET not in span.to_json() for span in watched.spans)
    watched.exporter.clear()
    watched.observe(all_kinds(), content=True)
    agent, first, tool, failed, second, last = watched.spans
    assert json.loads(attributes(first)["gen_ai.output.messages"])[0]["parts"][0]["content"] == SECRET
    assert attributes(first)["gen_ai.input.messages"] == attributes(agent)["gen_ai.input.messages"] == "[]"
    assert attributes(agent)["gen_ai.output.messages"] == attributes(second)["gen_ai.output.messages"]
    assert attributes(tool)["gen_ai.tool.call.arguments"] == CALL.arguments
    assert attributes(tool)["gen_ai.tool.call.result"] == SECRET
    assert failed.status.description == f"KeyError: '{SECRET}'"
    assert last.status.description == agent.status.description == f"RateLimited: {SECRET}"


def test_a_failed_request_ends_with_its_run(watched: Watched) -> None:
    observer = watched.observe(all_kinds())
    agent, first, _, tool, second, last = watched.spans
    assert attributes(first).get("error.type") is None
    assert attributes(second)["agentkit.violation"] == "it said nothing"
    assert attributes(tool)["error.type"] == "KeyError"
    assert attributes(tool)["agentkit.outcome"] == "error"
    for span in (agent, last):
        assert attributes(span)["error.type"] == "RateLimited"
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
    assert "agentkit.stop" not in attributes(agent)
    assert observer._runs == {}


def test_requests_are_measured(watched: Watched) -> None:
    watched.observe(all_kinds(), provider="groq")
    tokens = [(point.sum, dict(point.attributes or {})) for point in watched.points("gen_ai.client.token.usage")]
    common = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "groq", "gen_ai.request.model": "m"}
    answered = common | {"gen_ai.response.model": "m-2026"}
    for total, kind in ((12, "input"), (5, "output")):
        assert (total, common | {"gen_ai.token.type": kind}) in tokens
        assert (total, answered | {"gen_ai.token.type": kind}) in tokens
    assert len(tokens) == 4
    durations = watched.points("gen_ai.client.operation.duration")
    failed = common | {"error.type": "RateLimited"}
    assert [dict(point.attributes or {}) for point in durations] == [common, answered, failed]
    assert list(durations[0].explicit_bounds)[:3] == [0.01, 0.02, 0.04]
    assert list(watched.points("gen_ai.client.token.usage")[0].explicit_bounds)[-1] == 67108864


def test_a_nested_run_has_spans_once(watched: Watched) -> None:
    observer = watched.observer()
    outer, inner = events_of(), events_of(run_id="r2")
    observer(outer[0])
    observer(replace(ToolStarted(CALL), run_id="r1"))
    for event in inner:
        observer(event)
        observer(Nested(CALL, event, run_id="r1"))
    observer(replace(ToolFinished(CALL, ToolMessage("c0", "rain")), run_id="r1"))
    observer(outer[-1])
    assert watched.tree() == [("invoke_agent weather", ("execute_tool get_weather", ("invoke_agent weather",)))]


def test_a_run_that_ends_elsewhere_changes_nothing_there(watched: Watched) -> None:
    observer = watched.observer()
    first, asked, last = events_of(StepStarted(0, ToolChoice(), request()))
    context = copy_context()
    context.run(observer, first)
    context.run(observer, asked)
    with watched.tracer.start_as_current_span("elsewhere") as span:
        observer(last)
        assert trace.get_current_span() is span
    assert watched.tree() == [("invoke_agent weather", ("chat m",)), ("elsewhere",)]


def test_without_providers_the_global_ones_hold() -> None:
    observer = Spans()
    before = get_current()
    for event in all_kinds():
        observer(event)
    assert get_current() is before


@tool
def get_weather(city: str) -> str:
    """Look up the current weather in a city."""
    if city == "Atlantis":
        raise KeyError(city)
    return f"light rain in {city}"


def two_steps(body: Json) -> Json:
    if body["messages"][-1]["role"] == "tool":
        return text("It rains.")
    return calls(("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Atlantis"}), ("fly", {}))


@pytest.mark.anyio
async def test_a_real_run(watched: Watched) -> None:
    with serving(two_steps) as served:
        client = ChatClient("some-model", base_url=served.url, api_key="")
        agent = Agent(client, tools=[get_weather], observers=[watched.observer()], settings=Settings(max_tokens=9))
        with watched.tracer.start_as_current_span("page"):
            await agent.run("Hello")
            assert trace.get_current_span().get_span_context() == watched.tracer.start_span("x").parent  # type: ignore[attr-defined]
    ((page, (run, *below)),) = watched.tree()
    assert (page, run) == ("page", "invoke_agent agent")
    assert below[0] == below[-1] == ("chat some-model",)
    assert sorted(below[1:-1]) == [("execute_tool fly",), *[("execute_tool get_weather",)] * 2]
    errors = [attributes(span).get("error.type") for span in watched.spans if span.name.startswith("execute_tool")]
    assert sorted(map(str, errors)) == ["KeyError", "None", "ToolError"]
    chat = next(span for span in watched.spans if span.name == "chat some-model")
    expected = {"gen_ai.response.id": "chatcmpl-1", "gen_ai.response.model": "m", "gen_ai.request.max_tokens": 9}
    assert expected.items() <= attributes(chat).items()
    assert f"{attributes(chat)['server.address']}:{attributes(chat)['server.port']}" in served.url


@pytest.mark.anyio
async def test_what_a_tool_does_is_below_its_span(watched: Watched) -> None:
    def work(name: str) -> str:
        with watched.tracer.start_as_current_span(name):
            return name

    @tool
    async def in_loop() -> str:
        await anyio.lowlevel.checkpoint()
        return work("a")

    @tool
    def in_thread() -> str:
        return work("b")

    @tool
    def in_pieces() -> Iterator[str]:
        yield work("c")
        yield work("d")

    def reply(request: ChatRequest) -> AssistantMessage:
        work("request")
        both = called(("in_loop", {}), ("in_thread", {}), ("in_pieces", {}))
        return said("Done.") if len(request.messages) > 1 else both

    tools = [in_loop, in_thread, in_pieces]
    await Agent(Scripted(reply), tools=tools, observers=[watched.observer()]).run("Hello")
    ((_, first, *made, last),) = watched.tree()
    assert first == last == ("chat scripted", ("request",))
    assert sorted(made) == [
        ("execute_tool in_loop", ("a",)),
        ("execute_tool in_pieces", ("c",), ("d",)),
        ("execute_tool in_thread", ("b",)),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("sync", [True, False])
async def test_an_agent_that_is_a_tool_is_below_it(sync: bool, shared: bool, watched: Watched) -> None:
    observer = watched.observer()
    inner = Agent(Scripted(said("It rains.")), observers=[observer] if shared or sync else [], name="inner")

    @tool
    def ask(prompt: str) -> str:
        """Ask, from a thread with an event loop of its own."""
        return inner.run_sync(prompt).output

    made = ask if sync else inner.as_tool("ask", "Ask about the weather.")
    plays = called(("ask", {"prompt": "Paris?"}), ("ask", {"prompt": "Rome?"})), said("Yes.")
    await Agent(Scripted(*plays), tools=[made], observers=[observer], name="outer").run("Hello")
    asked = ("execute_tool ask", ("invoke_agent inner", ("chat scripted",)))
    assert watched.tree() == [("invoke_agent outer", ("chat scripted",), asked, asked, ("chat scripted",))]


@pytest.mark.anyio
async def test_a_failed_run_leaves_nothing_behind(watched: Watched) -> None:
    with chaos(status(429)) as endpoint:
        client = ChatClient("m", base_url=endpoint.url, api_key="", retries=Retries(attempts=1))
        with pytest.raises(RateLimited):
            await Agent(client, observers=[watched.observer()]).run("Hello")
    assert [attributes(span)["error.type"] for span in watched.spans] == ["RateLimited"] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_run_that_is_cancelled_ends_its_spans(at_once: int, watched: Watched) -> None:
    waiting = anyio.Event()

    @tool
    async def wait() -> str:
        waiting.set()
        await anyio.sleep_forever()
        raise AssertionError

    before = get_current()
    made: list[tuple[str, Json]] = [("wait", {})] * at_once
    agent = Agent(Scripted(called(*made)), tools=[wait], observers=[watched.observer()])

    async def run() -> None:
        mine = get_current()
        try:
            await agent.run("Hello")
        finally:
            assert get_current() is mine

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await waiting.wait()
        group.cancel_scope.cancel()
    assert get_current() is before
    ((_, chat, *tools),) = watched.tree()
    assert chat == ("chat scripted",)
    assert 1 <= len(tools) <= at_once
    failed = [attributes(span).get("error.type") for span in watched.spans]
    assert failed == [failed[0], None, *[failed[0]] * len(tools)]
    assert "Cancelled" in str(failed[0])


class Slow(Scripted):
    """Never answers the first request."""

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        if not self.requests:
            self.requests.append(request)
            await anyio.sleep_forever()
        return await super().complete(request, on_chunk)


@pytest.mark.anyio
async def test_a_request_that_ran_out_of_time_ends_before_the_last_one(watched: Watched) -> None:
    limits = Limits(seconds=0.2, at_end="answer")
    result = await Agent(Slow(said("Enough.")), limits=limits, observers=[watched.observer()]).run("Hello")
    assert result.output == "Enough."
    assert watched.tree() == [("invoke_agent agent", ("chat scripted",), ("chat scripted",))]
    assert [attributes(span).get("error.type") for span in watched.spans] == [None, "RunCancelled", None]
    with pytest.raises(LimitReached):
        await Agent(Slow(), limits=Limits(seconds=0.2), observers=[watched.observer()]).run("Hello")
    assert attributes(watched.spans[-1])["error.type"] == "LimitReached"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_many_streams_at_once_share_an_observer(watched: Watched) -> None:
    def reply(body: Json) -> Json:
        return text("It rains.") if len(body["messages"]) > 1 else calls(*[("get_weather", {"city": "Paris"})] * 2)

    with serving(reply) as served:
        agent = Agent(
            ChatClient("m", base_url=served.url, api_key=""), tools=[get_weather], observers=[watched.observer()]
        )

        async def one(name: str) -> None:
            with watched.tracer.start_as_current_span(name):
                async with agent.stream("Hello") as run:
                    async for _ in run:
                        assert trace.get_current_span().get_span_context().is_valid
                assert run.result.output == "It rains."

        async with anyio.create_task_group() as group:
            for at in range(20):
                group.start_soon(one, f"user {at}")
    tool_span = ("execute_tool get_weather",)
    expected = ("invoke_agent agent", ("chat m",), tool_span, tool_span, ("chat m",))
    assert sorted(watched.tree()) == sorted((f"user {at}", expected) for at in range(20))
    assert sum(point.count for point in watched.points("gen_ai.client.operation.duration")) == 40


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(MissingExtra, match="the extra `otel`: pip install opentelemetry-api"):
        runpy.run_path(otel.__file__)


def test_nothing_else_imports_it() -> None:
    code = """import agentkit, agentkit.testing, agentkit.observers.log, sys
print([name for name in sys.modules if 'otel' in name or 'opentel' in name])"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 (the tests' own code)
    assert done.stdout.strip() == "[]"


@pytest.mark.anyio
async def test_a_known_call_has_no_span_of_a_request(watched: Watched) -> None:
    @tool
    def lookup(day: str) -> str:
        return day

    choice = first(given(lookup, day="today"))
    agent = Agent(Scripted(said("done")), tools=[lookup], tool_choice=choice, observers=[watched.observer()])
    await agent.run("go")
    assert watched.tree() == [("invoke_agent agent", ("execute_tool lookup",), ("chat scripted",))]


@pytest.mark.anyio
@pytest.mark.parametrize("content", [True, False])
async def test_a_streamed_run_of_a_conversation(content: bool, watched: Watched, tmp_path: Path) -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    observers = [watched.observer(content=content)]
    agent = Agent(Scripted(called(("look", {})), said("I looked.")), tools=[look], observers=observers)
    session = Sqlite(tmp_path / "shop.db").conversation("ann")
    async with agent.stream("Look.", session=session) as run:
        assert "".join([event.text async for event in run if isinstance(event, TextDelta)]) == "I looked."
    assert {attributes(span)["gen_ai.conversation.id"] for span in watched.spans} == {"ann"}
    names = {name for span in watched.spans for name in attributes(span)}
    assert {name for name in names if not name.startswith("agentkit.")} <= OFFICIAL - FORMER
    call, answer = [attributes(span) for span in watched.spans if span.name == "chat scripted"]
    assert call["gen_ai.request.stream"] is answer["gen_ai.request.stream"] is True
    assert "gen_ai.response.time_to_first_chunk" not in call  # it has no text
    definition = {
        "type": "function",
        "name": "look",
        "description": "Look.",
        "parameters": agent.tools.specs[0].parameters,
    }
    assert ("gen_ai.tool.definitions" in answer) is content
    assert not content or json.loads(answer["gen_ai.tool.definitions"]) == [definition]
    (point,) = watched.points(gen_ai_metrics.GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK)
    assert (point.count, point.sum) == (1, answer["gen_ai.response.time_to_first_chunk"])


def test_a_conversation_can_be_given_and_late_text_is_no_first_chunk(watched: Watched) -> None:
    def by_agent(event: RunStarted) -> str:
        return event.agent

    watched.observe(events_of(TextDelta("late")), conversation=by_agent)
    assert attributes(watched.spans[0])["gen_ai.conversation.id"] == "weather"
    assert "gen_ai.response.time_to_first_chunk" not in attributes(watched.spans[0])


def test_spans_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[tuple[str, str | None, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, self.headers["x-key"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name)
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector, serving(text("Hello.")) as endpoint:
        thread = Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        agent = Agent(ChatClient("m", base_url=endpoint.url, api_key=""), observers=[Spans(provider)], name="shop")
        agent.run_sync("Hi")
        provider.shutdown()
        collector.shutdown()
        thread.join()
    ((path, key, body),) = received
    assert (path, key) == ("/v1/traces", "secret")
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert {span.name for span in resource.scope_spans[0].spans} == {"invoke_agent shop", "chat m"}
