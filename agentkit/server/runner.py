"""One run of an agent for a client: what it goes by, and what the client sees of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from agentkit.core.concurrency import Threads
from agentkit.core.errors import ContentFiltered, IncompleteReply
from agentkit.core.finish_reasons import ending_of
from agentkit.core.json import encode
from agentkit.core.messages import (
    AssistantMessage,
    DeveloperMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
)
from agentkit.core.state import Step
from agentkit.runs.events import Event, StepFinished, StepStarted, TextDelta, ToolFinished, ToolStarted
from agentkit.runs.lifecycle import RunInput, ask_approver, perform
from agentkit.runs.plan import Plan
from agentkit.runs.result import Result
from agentkit.server.client_calls import Handovers, Owner, handed_over
from agentkit.server.client_tools import Borrowing
from agentkit.server.errors import unfit
from agentkit.server.request import Asked
from agentkit.server.response import Called, Ended, Failed, Piece, Text, Told
from agentkit.tools.approval import Approver, Decision, deny
from agentkit.tools.toolbox import Toolbox
from agentkit.tools.truncation import READ_RESULT

_GAP = "\n\n"


class Turn(NamedTuple):
    """What a run for a client needs.

    Attributes:
        plan: What it goes by.
        given: What it begins with.
        asked: What the client asks for.
        owner: Whose hand-overs are remembered.
        handovers: Where they are.
        events: Whether the client is told of the agent's tools.
    """

    plan: Plan
    given: RunInput
    asked: Asked
    owner: Owner
    handovers: Handovers
    events: bool = False


def plan_for(plan: Plan, asked: Asked, seconds: float) -> Plan:
    """Give what a run goes by: an agent's plan, with what the client asks for.

    Args:
        plan: The agent's.
        asked: What the client asks for.
        seconds: How long it may take.

    Raises:
        Refusal: If a tool of the client's has the name of one of the agent's.
    """
    own = plan.toolbox.names | {READ_RESULT}
    for at, each in enumerate(asked.tools):
        if each.name in own:
            raise unfit(f"tools[{at}].function.name", f"the agent has a tool {each.name!r} of its own; rename this one")
    policy = plan.policy
    if asked.tools:
        finals = frozenset([plan.output.final.name]) if plan.output and plan.output.final else frozenset[str]()
        policy = Borrowing(policy, asked.choice, asked.names, finals)
    return replace(
        plan,
        toolbox=Toolbox([*plan.toolbox, *asked.tools]) if asked.tools else plan.toolbox,
        policy=policy,
        settings=asked.over(plan.settings),
        limits=replace(plan.limits, seconds=min(seconds, plan.limits.seconds or seconds)),
        # Who asks for no more than so many tokens is told that there are more, and nothing is said for it.
        on_truncated="continue" if plan.on_truncated == "continue" and "max_tokens" not in asked.settings else "accept",
        instructions=None,
        streamed=asked.stream,
    )


def conversation(plan: Plan, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Give the conversation as the model sees it.

    The agent's instructions come first, and what the client says as the system after them, in one message: many models
    take no second one. What a client says of a call of the agent's own tools is no proof that there was one.

    Args:
        plan: The agent's plan.
        messages: What the client sent.
    """
    own: set[str] = set()
    found: list[Message] = []
    for each in messages:
        if isinstance(each, AssistantMessage):
            own = {call.id for call in each.tool_calls if call.name in plan.toolbox}
        doubted = isinstance(each, ToolMessage) and each.tool_call_id in own
        found.append(replace(each, outcome="refused") if doubted and isinstance(each, ToolMessage) else each)
    if plan.instructions is None:
        return tuple(found)
    first = found[0]
    if not isinstance(first, SystemMessage | DeveloperMessage):
        return (plan.instructions, *found)
    return (SystemMessage(f"{plan.instructions.content}{_GAP}{first.content}"), *found[1:])


def allowed_by(approver: Approver | None, names: frozenset[str], threads: Threads) -> Approver:
    """Give what decides on calls: the client's wait for the client; nobody is there to allow the agent's own.

    Args:
        approver: Who is there after all.
        names: Those of the client's tools.
        threads: Where a sync approver runs.
    """

    async def decide(call: ToolCall) -> Decision | None:
        if call.name in names:
            return None
        return await ask_approver(approver, call, threads) or deny(call, "nobody is there to allow it")

    return decide


async def take(turn: Turn, index: int, put: Callable[[Piece], None]) -> None:
    """Run, and say what comes of it.

    Args:
        turn: What to run.
        index: Which of the choices it is.
        put: Takes the pieces; the last is an `Ended` or a `Failed`.
    """
    follower = Follower(index, put, typed=turn.plan.output is not None, told=turn.events)
    try:
        result = await perform(turn.plan, replace(turn.given, emit=follower))
    except ContentFiltered as error:
        follower.close(error.text)
        put(Ended(index, "content_filter", _usage(error)))
    except IncompleteReply as error:
        put(Ended(index, "length", _usage(error)) if follower.cut else Failed(index, error, follower.acted))
    except Exception as error:  # noqa: BLE001 (whatever ends a run, the client is told something)
        put(Failed(index, error, follower.acted))
    else:
        put(Ended(index, _conclude(turn, index, result, follower, put), result.usage))


def _conclude(turn: Turn, index: int, result: Result[Any], follower: "Follower", put: Callable[[Piece], None]) -> str:
    """Say what a run came to that is not said yet, and give the finish reason."""
    if result.stop == "paused":
        handover = handed_over(result, parallel=turn.asked.parallel)
        turn.handovers.keep(turn.owner, handover)
        put(Called(index, handover.calls))
        return "tool_calls"
    if result.stop == "refusal":
        put(Text(index, result.output, refusal=True))
    elif turn.plan.output is not None or result.stop == "tool":
        follower.say(result.output if isinstance(result.output, str) else encode(result.output).decode())
    return "length" if follower.cut else "stop"


def _usage(error: ContentFiltered | IncompleteReply) -> Usage:
    return Usage() if error.partial is None else error.partial.usage


class Follower:
    """Follows a run by its events, and says what the client sees of it.

    That is the text of each step, with a blank line between steps, in the same words whether it is streamed or not.
    Where the model may answer, its text is said as it is written; where it must call, once the reply is taken. Of a run
    whose answer is typed, only that is said.

    Args:
        index: Which of the choices the run is.
        put: Takes the pieces.
        typed: Whether the answer is typed.
        told: Whether to tell of the agent's tools.

    Attributes:
        acted: Whether a tool has run.
        cut: Whether the last reply was cut by its length limit.
    """

    def __init__(self, index: int, put: Callable[[Piece], None], *, typed: bool, told: bool) -> None:
        self._index = index
        self._put = put
        self._typed = typed
        self._told = told
        self._said = False
        self._gap = False
        self._live = False
        self._step = ""
        self.acted = False
        self.cut = False

    def __call__(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case StepStarted(choice=choice):
                self._live = choice.mode in ("auto", "none") and not self._typed
                self._step, self.cut = "", False
            case TextDelta(text=text) if self._live:
                self._step += text
                self.say(text)
            case StepFinished(step=step):
                self._finish(step)
            case ToolStarted(call=call):
                self.acted = True
                self._tell("tool_started", call, arguments=call.arguments)
            case ToolFinished(call=call, message=message, seconds=seconds):
                self._tell("tool_finished", call, outcome=message.outcome, content=message.content, seconds=seconds)
            case _:
                pass

    def say(self, text: str) -> None:
        """Say a piece of the text."""
        if text:
            self._put(Text(self._index, f"{_GAP}{text}" if self._gap and self._said else text))
            self._said, self._gap = True, False

    def close(self, text: str) -> None:
        """Say what is left of a step's text."""
        if self._live and text.startswith(self._step):
            self.say(text[len(self._step) :])

    def _finish(self, step: Step) -> None:
        self._live = self._live or (step.violation is None and not self._typed)
        self.close(step.message.content or "")
        self.cut = ending_of(step.finish_reason) == "cut"
        # The next text continues a truncated answer, so there is no gap.
        self._gap = step.violation is None or step.violation.kind != "cut_answer"

    def _tell(self, event: str, call: ToolCall, **more: object) -> None:
        if self._told:
            told = {"event": event, "index": self._index, "id": call.id, "name": call.name, **more}
            self._put(Told(self._index, told))
