"""OpenTelemetry: runs as spans and metrics, by its conventions for generative AI."""

from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

from agentkit.core.chat import ChatRequest
from agentkit.core.errors import MissingExtra, RunCancelled
from agentkit.core.json import whole
from agentkit.core.messages import ToolCall
from agentkit.core.state import Step
from agentkit.observers.gen_ai import Attributes, input_of, instructed, of_request, of_step, of_usage, output_of
from agentkit.observers.log import once
from agentkit.runs.events import Event, RunFinished, RunStarted, StepFinished, StepStarted, ToolFinished, ToolStarted
from agentkit.tools.results import error_text, unwrap_group

try:
    from opentelemetry.context import Context, attach, get_current
    from opentelemetry.metrics import MeterProvider, get_meter
    from opentelemetry.trace import (
        Span,
        SpanKind,
        StatusCode,
        TracerProvider,
        get_tracer,
        set_span_in_context,
    )
except ImportError as missing:
    raise MissingExtra("spans need OpenTelemetry, the extra `otel`: pip install opentelemetry-api") from missing

_SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_MEASURED = ("gen_ai.response.model", "server.address", "server.port")
_TOKENS = [float(4**power) for power in range(14)]
_SECONDS = [0.01 * 2**power for power in range(14)]


class Spans:
    """An observer that makes a span of each run, with spans of its requests and its tools in it, and metrics.

    The spans are `invoke_agent {agent}`, `chat {model}` and `execute_tool {tool}`, with attributes by OpenTelemetry's
    conventions for generative AI, version 1.41. The span that is current where a run begins is the parent. Within a
    tool the tool's own span is current, so what the tool does is found below it: a request of its own, another agent.
    The metrics are `gen_ai.client.operation.duration` and `gen_ai.client.token.usage`, of requests.

    Args:
        tracer_provider: Where spans go; without it the global one holds.
        meter_provider: Where metrics go, likewise.
        provider: What `gen_ai.provider.name` says. The conventions have `openai` for whatever speaks OpenAI's protocol
            and is not known better.
        content: Whether spans have what was said, what tools were called with and what they returned, and the texts of
            errors, which may quote it.

    Raises:
        MissingExtra: At the import of this module, if OpenTelemetry is not installed.
    """

    __slots__ = ("_content", "_durations", "_provider", "_runs", "_tell", "_tokens", "_tracer")

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        provider: str = "openai",
        content: bool = False,
    ) -> None:
        self._content = content
        self._provider = provider
        self._runs: dict[str, _Run] = {}
        self._tell = once(self._told)
        self._tracer = get_tracer("agentkit", tracer_provider=tracer_provider, schema_url=_SCHEMA)
        meter = get_meter("agentkit", meter_provider=meter_provider, schema_url=_SCHEMA)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._durations = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def __call__(self, event: Event) -> None:
        """Take an event, as observers do."""
        self._tell(event)

    def _told(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._runs[event.run_id] = self._begun(event)
            return
        run = self._runs[event.run_id]
        match event:
            case StepStarted():
                self._stopped(run, RunCancelled("it was stopped before its end"))  # when the time for it was over
                run.open[None] = self._asked(run, event)
            case StepFinished():
                self._answered(run, event.step)
            case ToolStarted():
                run.open[event.call.id] = self._called(run, event.call)
            case ToolFinished():
                self._returned(run, event)
            case RunFinished():
                self._ended(self._runs.pop(event.run_id), event)
            case _:
                pass

    def _begun(self, event: RunStarted) -> "_Run":
        operation = self._operation("invoke_agent") | {"gen_ai.request.model": event.model}
        own: Attributes = {"gen_ai.agent.name": event.agent, "agentkit.run_id": event.run_id}
        return _Run(event.model, self._open(f"invoke_agent {event.agent}", SpanKind.INTERNAL, operation | own))

    def _asked(self, run: "_Run", event: StepStarted) -> "_Open":
        request, operation = event.request, self._operation("chat") | {"gen_ai.request.model": run.model}
        own: Attributes = {"agentkit.step": event.number, "agentkit.tool_choice": str(event.choice)}
        opened = self._open(f"chat {run.model}", SpanKind.CLIENT, operation | of_request(request) | own)
        if self._content:
            opened.span.set_attributes(input_of(request))
            if run.request is None:
                run.agent.span.set_attributes(instructed(request))
        run.request = request
        return opened

    def _answered(self, run: "_Run", step: Step) -> None:
        found = of_step(step)
        if step.violation is not None:
            found["agentkit.violation"] = str(step.violation)
        if self._content:
            found |= output_of(step)
            run.agent.span.set_attributes(output_of(step))
        self._heard(run, run.open.pop(None), found)

    def _heard(self, run: "_Run", opened: "_Open", found: Attributes, error: BaseException | None = None) -> None:
        """End a request, and measure it."""
        opened.span.set_attributes(found)
        self._close(opened, error)
        measured = self._operation("chat") | {"gen_ai.request.model": run.model}
        measured |= {name: found[name] for name in _MEASURED if name in found}
        for kind in ("input", "output"):
            if isinstance(tokens := found.get(f"gen_ai.usage.{kind}_tokens"), int):
                self._tokens.record(tokens, measured | {"gen_ai.token.type": kind})
        if error is not None:
            measured["error.type"] = _kind(error)
        self._durations.record(perf_counter() - opened.began, measured)

    def _called(self, run: "_Run", call: ToolCall) -> "_Open":
        own: Attributes = {"gen_ai.tool.name": call.name, "gen_ai.tool.call.id": call.id}
        own["gen_ai.tool.type"] = "function"
        for spec in () if run.request is None else run.request.tools:
            if spec.name == call.name:
                own["gen_ai.tool.description"] = spec.description
        if self._content:
            own["gen_ai.tool.call.arguments"] = whole(call.arguments)
        return self._open(f"execute_tool {call.name}", SpanKind.INTERNAL, self._operation("execute_tool") | own)

    def _returned(self, run: "_Run", event: ToolFinished) -> None:
        opened = run.open.pop(event.call.id, None) or self._called(run, event.call)
        opened.span.set_attribute("agentkit.outcome", event.message.outcome)
        if self._content:
            opened.span.set_attribute("gen_ai.tool.call.result", whole(event.message.content))
        self._close(opened, event.error)

    def _stopped(self, run: "_Run", error: BaseException | None) -> None:
        """End what is open, the last first: a request that failed, and calls that were stopped."""
        while run.open:
            name, opened = run.open.popitem()
            if name is None:
                self._heard(run, opened, {}, error)
            else:
                self._close(opened, error)

    def _ended(self, run: "_Run", event: RunFinished) -> None:
        self._stopped(run, event.error)
        run.agent.span.set_attributes(of_usage(event.usage))
        if event.stop is not None:
            run.agent.span.set_attribute("agentkit.stop", event.stop)
        self._close(run.agent, event.error)

    def _operation(self, name: str) -> Attributes:
        return {"gen_ai.operation.name": name, "gen_ai.provider.name": self._provider}

    def _open(self, name: str, kind: SpanKind, attributes: Attributes) -> "_Open":
        """Begin a span and make it the current one."""
        before = get_current()
        span = self._tracer.start_span(name, before, kind, attributes)
        inside = set_span_in_context(span, before)
        attach(inside)
        return _Open(span, inside, before, perf_counter())

    def _close(self, opened: "_Open", error: BaseException | None) -> None:
        """End a span; what was current before it is so again, in the task where it began.

        Its token could be given back in that task only. A call that was stopped ends with the run, in another one.
        """
        if error is not None:
            opened.span.set_attribute("error.type", _kind(error))
            opened.span.set_status(StatusCode.ERROR, error_text(error, "show") if self._content else None)
        opened.span.end()
        if get_current() is opened.inside:
            attach(opened.before)


class _Open(NamedTuple):
    """A span that is not at its end."""

    span: Span
    inside: Context
    before: Context
    began: float


@dataclass(slots=True)
class _Run:
    """A run under way: its span, and those in it: of its request, by the name `None`, and of calls, by their ids."""

    model: str
    agent: _Open
    open: dict[str | None, _Open] = field(default_factory=dict[str | None, _Open])
    request: ChatRequest | None = None


def _kind(error: BaseException) -> str:
    return type(unwrap_group(error)).__qualname__
