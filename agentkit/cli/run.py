"""`agentkit run`: one prompt, one answer."""

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, TextIO

from pydantic_core import to_jsonable_python
from rich.console import Console

from agentkit.cli.exit_codes import Code, tell, text_of
from agentkit.cli.formatting import call_of, safe
from agentkit.cli.interrupts import told_of_ctrl_c
from agentkit.cli.live_view import Shown, console_on
from agentkit.cli.session_argument import Place, place_of
from agentkit.cli.targets import Target
from agentkit.core.dicts import messages_of, stored
from agentkit.core.errors import InvalidRequest, Partial
from agentkit.core.messages import Usage
from agentkit.core.state import Step
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.result import Result
from agentkit.tools.approval import Approver

_NO_PROMPT = (
    'there is no prompt: agentkit {0} TARGET "What is the weather in Paris?", or a pipe, … | agentkit {0} TARGET'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What `agentkit run` is asked to do.

    Attributes:
        target: For which agent.
        prompt: What the user says, or `None` to go on with the session.
        session: Where the conversation is kept.
        streamed: Whether text is shown as it comes; `None` if it is on a terminal.
        as_json: Whether the result is given as JSON.
        verbosity: How much is shown beside it.
        curl: Whether the request is shown as a command, where it is only shown.
    """

    target: Target
    prompt: str | None
    session: str | None = None
    streamed: bool | None = None
    as_json: bool = False
    verbosity: int = 0
    curl: bool = False


def prompt_of(words: list[str], stdin: TextIO, *, goes_on: bool, command: str = "run") -> str | None:
    """Give the prompt: the words, or what comes from a pipe; `-` stands for the pipe.

    Args:
        words: The words of the command line.
        stdin: What may be a pipe.
        goes_on: Whether a conversation goes on where there is no prompt.
        command: Which command it is for.

    Raises:
        InvalidRequest: If there is none.
    """
    from_pipe = words == ["-"] or (not words and not stdin.isatty())
    prompt = (stdin.read() if from_pipe else " ".join(words)).strip()
    if not prompt and not goes_on:
        raise InvalidRequest(_NO_PROMPT.format(command))
    return prompt or None


async def show_request(order: Order) -> Code:
    """Show the request that the run would begin with, and send nothing."""
    async with order.target.opened() as agent:
        kept = await place_of(order.session).session.load()
        messages = [*kept.messages, *(() if order.prompt is None else messages_of(order.prompt))]
        request = agent.dry_run(messages, streamed=_is_streamed(order, sys.stdout))
    sys.stdout.write(f"{request.curl() if order.curl else request}\n")
    return Code.OK


async def run(order: Order) -> Code:
    """Run, and give the answer on stdout; all else goes to stderr, also what tools print."""
    out, place = sys.stdout, place_of(order.session)
    streamed = _is_streamed(order, out)
    err = console_on(sys.stderr)
    shown = Shown(out if streamed else None, err, order.verbosity)
    with redirect_stdout(sys.stderr), told_of_ctrl_c():
        async with order.target.opened() as agent:
            try:
                result = await perform(
                    replace(agent.plan, streamed=streamed), _given(order, place, approver_on(err), shown)
                )
            except BaseException as error:
                shown.closed()
                if place.file is not None:
                    tell(f"what was said is kept in {place}")
                if order.as_json and isinstance(error, Exception):
                    out.write(f"{json.dumps(data_of_error(error))}\n")
                raise
    _give(result, order, out, shown)
    if place.file is None:
        return end_of(
            result, "nobody could be asked, and nothing is kept: run it at a terminal, or with --session FILE"
        )
    return end_of(result, f"to decide, run it at a terminal without a prompt: agentkit run TARGET --session {place}")


def approver_on(err: Console) -> Approver | None:
    """Give who is asked at the terminal, if there is one."""
    if not (sys.stdin.isatty() and err.is_terminal):
        return None
    asking: Any = import_module("agentkit.cli.approval_prompt")
    approver: Approver = asking.asking(err, asking.reader())
    return approver


def data_of(result: Result[Any]) -> dict[str, object]:
    """Give a result as plain data."""
    return {
        "output": to_jsonable_python(result.output, fallback=str, inf_nan_mode="strings"),
        "stop": result.stop,
        "pending": [call.to_dict() for call in result.pending],
        "usage": asdict(result.usage),
        "steps": [_data_of_step(each) for each in result.steps],
        "start": result.start,
        "messages": [stored(each) for each in result.messages],
    }


def data_of_error(error: Exception) -> dict[str, object]:
    """Give an error that ended a run as plain data, in the form of a result."""
    partial: Partial = getattr(error, "partial", None) or Partial((), Usage())
    return {
        "output": None,
        "stop": None,
        "error": {"type": type(error).__name__, "text": text_of(error)},
        "pending": [],
        "usage": asdict(partial.usage),
        "steps": [],
        "start": 0,
        "messages": [stored(each) for each in partial.messages],
    }


def _data_of_step(step: Step) -> dict[str, object]:
    return {
        "choice": str(step.choice),
        "policy": step.policy,
        "calls": [call.name for call in step.message.tool_calls],
        "violation": None if step.violation is None else str(step.violation),
        "finish_reason": step.finish_reason,
        "usage": asdict(step.usage),
    }


def _is_streamed(order: Order, out: TextIO) -> bool:
    if order.streamed is None:
        return out.isatty() and not order.as_json
    return order.streamed and not order.as_json


def _given(order: Order, place: Place, approver: Approver | None, shown: Shown) -> RunInput:
    messages = () if order.prompt is None else messages_of(order.prompt)
    session = None if place.file is None else place.session
    return RunInput(messages, None, approver, session, emit=shown)


def _give(result: Result[Any], order: Order, out: TextIO, shown: Shown) -> None:
    shown.closed()
    if order.as_json:
        out.write(f"{json.dumps(data_of(result))}\n")
    elif result.stop != "paused" and (shown.out is None or shown.text != result.output):
        text = text_of_output(result.output)
        out.write(text if text.endswith("\n") or not text else f"{text}\n")
    out.flush()


def text_of_output(output: object) -> str:
    """Give an answer as a text; one of a type as JSON."""
    if isinstance(output, str):
        return safe(output)
    data = to_jsonable_python(output, fallback=str, inf_nan_mode="strings")
    return safe(json.dumps(data, ensure_ascii=False, indent=2))


def end_of(result: Result[Any], decide: str) -> Code:
    """Give the code of a result, and tell what it does not say itself.

    Args:
        result: The result.
        decide: How calls that wait are decided on.
    """
    match result.stop:
        case "paused":
            for call in result.pending:
                tell(f"waits for approval: {call_of(call)}")
            tell(decide)
            return Code.PAUSED
        case "refusal":
            tell("the model declined")
            return Code.FAILED
        case "empty":
            tell("the model said nothing")
            return Code.FAILED
        case _:
            return Code.OK
