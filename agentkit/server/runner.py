"""One run of an agent for a client: its plan, its conversation, and the parts of the response that its events make."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from agentkit.core.concurrency import Threads
from agentkit.core.errors import ContentFiltered, IncompleteReply
from agentkit.core.finish_reasons import ending_of
from agentkit.core.json import encode
from agentkit.core.messages import (
    AssistantMessage,
    Message,
    ToolCall,
    ToolMessage,
    Usage,
)
from agentkit.core.state import Step
from agentkit.runs.dynamic import instructed
from agentkit.runs.events import (
    ApprovalNeeded,
    Event,
    ReasoningDelta,
    StepFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from agentkit.runs.lifecycle import RunInput, ask_approver, perform
from agentkit.runs.plan import Plan
from agentkit.runs.result import Result
from agentkit.server.approvals import Approvals
from agentkit.server.client_calls import ClientCallStore, Owner, client_calls_of
from agentkit.server.client_tools import WithClientTools
from agentkit.server.conversations import image_urls
from agentkit.server.errors import invalid_field
from agentkit.server.request import CompletionRequest
from agentkit.server.response import Failed, Finished, ResponsePart, TextChunk, ToolCallsChunk, ToolEvent
from agentkit.server.response_format import with_format
from agentkit.server.shown_runs import ShownRuns
from agentkit.tools.approval import Approver, Decision, deny
from agentkit.tools.toolbox import Toolbox
from agentkit.tools.truncation import READ_RESULT

_BLANK_LINE = "\n\n"
_OWN_STEPS = 10

Put: TypeAlias = Callable[[ResponsePart], None]


class ServedRun(NamedTuple):
    """What the runs for a request need.

    `events` is whether the client sees events of the agent's tools, `approvals` are where it decides on calls, and
    `shown` are the runs that others see.
    """

    plan: Plan
    given: RunInput
    request: CompletionRequest
    owner: Owner
    store: ClientCallStore
    events: bool = False
    approvals: Approvals | None = None
    shown: ShownRuns | None = None


def plan_for(plan: Plan, request: CompletionRequest, seconds: float) -> Plan:
    """Return an agent's plan changed for a request that may take so many seconds.

    Raises:
        HttpError: If a tool of the client has the name of one of the agent's, or if the agent's answers cannot have the
            form that the client wants.
    """
    own_names = plan.toolbox.names | {READ_RESULT}
    for position, tool in enumerate(request.tools):
        if tool.name in own_names:
            text = f"the agent has a tool {tool.name!r} of its own; rename the client's"
            raise invalid_field(f"tools[{position}].function.name", text)
    plan = with_format(plan, request.format, own_names | request.tool_names)
    policy = plan.policy
    if request.tools:
        output_tools = frozenset([plan.output.final.name]) if plan.output and plan.output.final else frozenset[str]()
        policy = WithClientTools(
            policy,
            request.tool_choice,
            request.tool_names,
            output_tools,
            parallel=request.parallel,
            own_steps=min(_OWN_STEPS, plan.limits.steps // 2),
        )
    # A client that limits the tokens gets a truncated answer with `finish_reason: length`, and no continuation.
    continued = plan.on_truncated == "continue" and "max_tokens" not in request.settings
    return plan._replace(
        toolbox=Toolbox([*plan.toolbox, *request.tools]) if request.tools else plan.toolbox,
        policy=policy,
        settings=request.override(plan.settings),
        limits=replace(plan.limits, seconds=min(seconds, plan.limits.seconds or seconds)),
        on_truncated="continue" if continued else "accept",
        instructions=plan.instructions if request.conversation else None,
        streamed=request.stream,
    )


def conversation_for(
    plan: Plan, messages: tuple[Message, ...], client_tools: frozenset[str] = frozenset()
) -> tuple[Message, ...]:
    """Return a client's messages as the model sees them.

    The agent's instructions come first. The client's system prompt follows in the same message, because many models
    take only one. A client's results of the agent's own tools are no proof that these ran.
    """

    def is_own(name: str) -> bool:
        return name in plan.toolbox or (plan.gives_tools and name not in client_tools)

    own_ids: set[str] = set()
    conversation: list[Message] = []
    for message in messages:
        if isinstance(message, AssistantMessage):
            own_ids = {call.id for call in message.tool_calls if is_own(call.name)}
        if isinstance(message, ToolMessage) and message.tool_call_id in own_ids:
            conversation.append(replace(message, outcome="refused"))
        else:
            conversation.append(message)
    if plan.instructions is None:
        return tuple(conversation)
    return instructed(plan.instructions, tuple(conversation))


def approver_for(approver: Approver | None, client_tools: frozenset[str], threads: Threads) -> Approver:
    """Return the approver of a run: calls of the client's tools wait; others are denied unless `approver` allows them.

    A sync approver runs in one of the `threads`.
    """

    async def decide(call: ToolCall) -> Decision | None:
        if call.name in client_tools:
            return None
        decision = None if approver is None else await ask_approver(approver, threads, call)
        return decision or deny(call, "nobody is there to allow it")

    return decide


async def run_choice(served: ServedRun, index: int, put: Put) -> None:
    """Run the agent for one of the choices. The last part that is put is a `Finished` or a `Failed`."""
    plan = served.plan
    emitter = PartEmitter(
        index, put, typed=plan.output is not None, judged=bool(plan.hooks.text_validators), tool_events=served.events
    )
    given = served.given._replace(emit=emitter if served.shown is None else served.shown.showing(emitter))
    if served.approvals is not None:
        ask = served.approvals.asking(served.owner[1], emitter.put_approval)
        given = given._replace(approver=approver_for(ask, served.request.tool_names, plan.threads))
    try:
        result = await perform(served.plan, given)
    except ContentFiltered as error:
        emitter.add_rest(error.text)
        put(Finished(index, "content_filter", _usage_so_far(error)))
    except IncompleteReply as error:
        truncated = Finished(index, "length", _usage_so_far(error))
        put(truncated if emitter.truncated else Failed(index, error, emitter.acted))
    except Exception as error:  # noqa: BLE001 (the client gets a response whatever ends a run)
        put(Failed(index, error, emitter.acted))
    else:
        put(Finished(index, _put_end(served, index, result, emitter, put), result.usage))


def _put_end(served: ServedRun, index: int, result: Result[Any], emitter: "PartEmitter", put: Put) -> str:
    """Put what the events of a run did not have, and return the finish reason."""
    if result.stop == "paused":
        client_calls = client_calls_of(result)
        served.store.keep(served.owner, client_calls)
        put(ToolCallsChunk(index, client_calls.calls))
        return "tool_calls"
    if result.stop == "refusal":
        put(TextChunk(index, result.output, refusal=True))
    elif served.plan.output is not None or result.stop == "tool" or not result.steps:  # it had ended before
        is_text = isinstance(result.output, str) and served.request.format is None
        emitter.add_text(result.output if is_text else encode(result.output).decode())
    return "length" if emitter.truncated else "stop"


def _usage_so_far(error: ContentFiltered | IncompleteReply) -> Usage:
    return Usage() if error.partial is None else error.partial.usage


class PartEmitter:
    """Turns the events of a run into parts of the response.

    The client gets the text of each step, with a blank line between steps: the same text streamed or not. If the model
    may answer, its text is put as it is written; if it must call a tool, or the agent has output validators, once the
    reply is accepted. If the output is typed, only the output is put. `acted` is whether a tool has run, `truncated`
    whether the last reply was cut by its length limit.
    """

    def __init__(self, index: int, put: Put, *, typed: bool, judged: bool = False, tool_events: bool) -> None:
        self._index = index
        self._put = put
        self._typed = typed
        self._judged = judged
        self._tool_events = tool_events
        self._has_text = False
        self._between_steps = False
        self._live = False
        self._step_text = ""
        self._has_reasoning = False
        self._own: ToolCall | None = None
        self.acted = False
        self.truncated = False

    def __call__(self, event: Event) -> None:
        match event:
            case StepStarted(choice=choice):
                self._live = choice.mode in ("auto", "none") and not (self._typed or self._judged)
                self._step_text, self.truncated, self._has_reasoning = "", False, False
            case TextDelta(text=text) if self._live:
                self._step_text += text
                self.add_text(text)
            case ReasoningDelta(text=text):
                self._has_reasoning = True
                self._put_event("reasoning", text=text)
            case StepFinished(step=step):
                if step.message.reasoning and not self._has_reasoning:
                    self._put_event("reasoning", text=step.message.reasoning)
                self._finish_step(step)
            case ApprovalNeeded(call=call):
                self._own = call
            case ToolStarted(call=call):
                self.acted = True
                self._put_event("tool_started", id=call.id, name=call.name, arguments=call.arguments)
            case ToolFinished(call=call, message=message, seconds=seconds):
                result = {"outcome": message.outcome, "content": message.content, "seconds": seconds}
                result |= image_urls(message.images) | ({} if seconds else {"arguments": call.arguments})
                self._put_event("tool_finished", id=call.id, name=call.name, **result)
            case _:
                pass

    def add_text(self, text: str) -> None:
        if text:
            gap = _BLANK_LINE if self._between_steps and self._has_text else ""
            self._put(TextChunk(self._index, f"{gap}{text}"))
            self._has_text, self._between_steps = True, False

    def add_rest(self, text: str) -> None:
        """Put what is left of a step's whole text."""
        if self._live and text.startswith(self._step_text):
            self.add_text(text[len(self._step_text) :])

    def _finish_step(self, step: Step) -> None:
        self._live = self._live or (step.violation is None and not self._typed)
        self.add_rest(step.message.content or "")
        self.truncated = ending_of(step.finish_reason) == "cut"
        # The next text continues a truncated answer, without a blank line.
        self._between_steps = step.violation is None or step.violation.kind != "cut_answer"

    def put_approval(self, call: ToolCall, approval: str) -> None:
        """Put the event that asks the client to decide on a call. A sub-agent's may have the id of another call."""
        fields = {"id": call.id, "name": call.name, "arguments": call.arguments, "approval": approval}
        self._put_event("approval_needed", **fields, nested=call is not self._own)

    def _put_event(self, event: str, **more: object) -> None:
        if self._tool_events:
            self._put(ToolEvent(self._index, {"event": event, "index": self._index, **more}))
