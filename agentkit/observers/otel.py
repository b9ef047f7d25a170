"""OpenTelemetry: runs as spans and metrics, by its semantic conventions for generative AI."""

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from time import perf_counter
from typing import NamedTuple

from agentkit.core.chat import ChatRequest
from agentkit.core.errors import MissingExtra, RunCancelled
from agentkit.core.json import whole
from agentkit.core.messages import ToolCall
from agentkit.core.state import Step
from agentkit.observers.gen_ai import (
    Attributes,
    agent_input_of,
    input_of,
    of_request,
    of_step,
    of_usage,
    output_of,
    tools_of,
)
from agentkit.observers.log import error_kind, once
from agentkit.runs.events import (
    AnswerDelta,
    Event,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from agentkit.tools.results import error_text

try:
    from opentelemetry.context import Context, attach, get_current
    from opentelemetry.metrics import MeterProvider, get_meter
    from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer, set_span_in_context
except ImportError as missing:
    raise MissingExtra("spans need OpenTelemetry, the extra `otel`: pip install opentelemetry-api") from missing

_SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_METRIC_ATTRIBUTES = ("gen_ai.response.model", "server.address", "server.port")
_TOKENS = ("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.")
_DURATIONS = ("gen_ai.client.operation.duration", "s", "GenAI operation duration.")
_FIRST_CHUNKS = ("gen_ai.client.operation.time_to_first_chunk", "s", "Time to receive the first chunk of an answer.")
_TOKEN_BUCKETS = [float(4**power) for power in range(14)]
_SECONDS_BUCKETS = [0.01 * 2**power for power in range(14)]


class Spans:
    """An observer that makes a span of each run, with spans of its requests and tool calls in it, and metrics.

    The spans are `invoke_agent {agent}`, `chat {model}` and `execute_tool {tool}`, with attributes by OpenTelemetry's
    conventions for generative AI, version 1.41. The span that is current where a run begins is the parent. Within a
    tool, the span of its call is current, so that the tool's own spans are below it: its HTTP requests, a sub-agent.
    The metrics are `gen_ai.client.operation.duration` and `gen_ai.client.token.usage`, of requests, and
    `gen_ai.client.operation.time_to_first_chunk`, of answers that are streamed.

    Args:
        tracer_provider: Where spans go; the global provider by default.
        meter_provider: Where metrics go; the global provider by default.
        provider: The value of `gen_ai.provider.name`. The conventions have `openai` for every endpoint with OpenAI's
            protocol that has no name of its own.
        content: Whether spans have messages, tool definitions, arguments and results, and error texts.
        conversation: Returns the `gen_ai.conversation.id` of a run as it begins. By default, it is the name of the
            run's session, if that has one.

    Raises:
        MissingExtra: At the import of this module, if OpenTelemetry is not installed.
    """

    __slots__ = (
        "_content",
        "_conversation",
        "_durations",
        "_first_chunks",
        "_observe_once",
        "_provider",
        "_runs",
        "_tokens",
        "_tracer",
    )

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        provider: str = "openai",
        content: bool = False,
        conversation: Callable[[RunStarted], str | None] = attrgetter("conversation"),
    ) -> None:
        self._content = content
        self._conversation = conversation
        self._provider = provider
        self._runs: dict[str, _Run] = {}
        self._observe_once = once(self._observe)
        self._tracer = get_tracer("agentkit", tracer_provider=tracer_provider, schema_url=_SCHEMA)
        meter = get_meter("agentkit", meter_provider=meter_provider, schema_url=_SCHEMA)
        self._tokens = meter.create_histogram(*_TOKENS, explicit_bucket_boundaries_advisory=_TOKEN_BUCKETS)
        self._first_chunks = meter.create_histogram(
            *_FIRST_CHUNKS, explicit_bucket_boundaries_advisory=_SECONDS_BUCKETS
        )
        self._durations = meter.create_histogram(*_DURATIONS, explicit_bucket_boundaries_advisory=_SECONDS_BUCKETS)

    def __call__(self, event: Event) -> None:
        self._observe_once(event)

    def _observe(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._runs[event.run_id] = self._start_run(event)
            return
        run = self._runs[event.run_id]
        match event:
            case StepStarted():
                # A request that is open now ran out of time; the run asks for its last answer.
                self._end_open(run, RunCancelled("the request was cancelled"))
                if event.request is not None:
                    run.open[None] = self._start_request(run, event, event.request)
            case StepFinished() if not event.step.known:
                self._end_step(run, event.step)
            case TextDelta() | AnswerDelta():
                self._note_first_chunk(run)
            case ToolStarted():
                run.open[event.call.id] = self._start_call(run, event.call)
            case ToolFinished():
                self._end_call(run, event)
            case RunFinished():
                self._end_run(self._runs.pop(event.run_id), event)
            case _:
                pass

    def _start_run(self, event: RunStarted) -> "_Run":
        operation = self._operation("invoke_agent") | {"gen_ai.request.model": event.model}
        own: Attributes = {"gen_ai.agent.name": event.agent, "agentkit.run_id": event.run_id}
        conversation = self._conversation(event)
        within: Attributes = {} if conversation is None else {"gen_ai.conversation.id": conversation}
        agent = self._open(f"invoke_agent {event.agent}", SpanKind.INTERNAL, operation | own | within)
        return _Run(event.model, agent, within, event.streamed)

    def _start_request(self, run: "_Run", event: StepStarted, request: ChatRequest) -> "_Open":
        operation = self._operation("chat") | {"gen_ai.request.model": run.model}
        own: Attributes = {"agentkit.step": event.number, "agentkit.tool_choice": str(event.choice)}
        own |= run.within
        if run.streamed:
            own["gen_ai.request.stream"] = run.waiting = True
        opened = self._open(f"chat {run.model}", SpanKind.CLIENT, operation | of_request(request) | own)
        if self._content:
            opened.span.set_attributes(input_of(request) | tools_of(request))
            if run.request is None:
                run.agent.span.set_attributes(agent_input_of(request))
        run.request = request
        return opened

    def _note_first_chunk(self, run: "_Run") -> None:
        opened = run.open.get(None)
        if opened is not None and run.waiting:
            run.waiting, seconds = False, perf_counter() - opened.began
            opened.span.set_attribute("gen_ai.response.time_to_first_chunk", seconds)
            self._first_chunks.record(seconds, self._operation("chat") | {"gen_ai.request.model": run.model})

    def _end_step(self, run: "_Run", step: Step) -> None:
        attributes = of_step(step)
        if step.violation is not None:
            attributes["agentkit.violation"] = str(step.violation)
        if self._content:
            attributes |= output_of(step)
            run.agent.span.set_attributes(output_of(step))
        self._end_request(run, run.open.pop(None), attributes)

    def _end_request(
        self, run: "_Run", opened: "_Open", attributes: Attributes, error: BaseException | None = None
    ) -> None:
        opened.span.set_attributes(attributes)
        self._close(opened, error)
        metric = self._operation("chat") | {"gen_ai.request.model": run.model}
        metric |= {name: attributes[name] for name in _METRIC_ATTRIBUTES if name in attributes}
        for kind in ("input", "output"):
            if isinstance(tokens := attributes.get(f"gen_ai.usage.{kind}_tokens"), int):
                self._tokens.record(tokens, metric | {"gen_ai.token.type": kind})
        if error is not None:
            metric["error.type"] = error_kind(error)
        self._durations.record(perf_counter() - opened.began, metric)

    def _start_call(self, run: "_Run", call: ToolCall) -> "_Open":
        own: Attributes = {"gen_ai.tool.name": call.name, "gen_ai.tool.call.id": call.id}
        own |= run.within
        own["gen_ai.tool.type"] = "function"
        for spec in () if run.request is None else run.request.tools:
            if spec.name == call.name:
                own["gen_ai.tool.description"] = spec.description
        if self._content:
            own["gen_ai.tool.call.arguments"] = whole(call.arguments)
        return self._open(f"execute_tool {call.name}", SpanKind.INTERNAL, self._operation("execute_tool") | own)

    def _end_call(self, run: "_Run", event: ToolFinished) -> None:
        opened = run.open.pop(event.call.id, None) or self._start_call(run, event.call)
        opened.span.set_attribute("agentkit.outcome", event.message.outcome)
        if self._content:
            opened.span.set_attribute("gen_ai.tool.call.result", whole(event.message.content))
        self._close(opened, event.error)

    def _end_open(self, run: "_Run", error: BaseException | None) -> None:
        """End the open spans, the last first: a request that failed, or calls that were cancelled."""
        while run.open:
            call_id, opened = run.open.popitem()
            if call_id is None:
                self._end_request(run, opened, {}, error)
            else:
                self._close(opened, error)

    def _end_run(self, run: "_Run", event: RunFinished) -> None:
        self._end_open(run, event.error)
        run.agent.span.set_attributes(of_usage(event.usage))
        if event.stop is not None:
            run.agent.span.set_attribute("agentkit.stop", event.stop)
        self._close(run.agent, event.error)

    def _operation(self, name: str) -> Attributes:
        return {"gen_ai.operation.name": name, "gen_ai.provider.name": self._provider}

    def _open(self, name: str, kind: SpanKind, attributes: Attributes) -> "_Open":
        before = get_current()
        span = self._tracer.start_span(name, before, kind, attributes)
        inside = set_span_in_context(span, before)
        attach(inside)
        return _Open(span, inside, before, perf_counter())

    def _close(self, opened: "_Open", error: BaseException | None) -> None:
        """End a span, and make the one before it current again, if this is the task where it is current.

        A token to detach would be valid only in that task, but a cancelled call's span ends in the task of the run.
        """
        if error is not None:
            opened.span.set_attribute("error.type", error_kind(error))
            opened.span.set_status(StatusCode.ERROR, error_text(error, "show") if self._content else None)
        opened.span.end()
        if get_current() is opened.inside:
            attach(opened.before)


class _Open(NamedTuple):
    span: Span
    inside: Context
    before: Context
    began: float


@dataclass(slots=True)
class _Run:
    """A run that has not ended."""

    model: str
    agent: _Open
    within: Attributes  # its conversation
    streamed: bool
    waiting: bool = False  # for the first chunk of a reply
    open: dict[str | None, _Open] = field(default_factory=dict[str | None, _Open])  # calls by id, the request by `None`
    request: ChatRequest | None = None
