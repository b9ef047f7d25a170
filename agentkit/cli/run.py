"""`agentkit run`: one prompt, one answer."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from importlib import import_module
from threading import Timer
from typing import Any, TextIO, cast

from pydantic_core import to_jsonable_python
from rich.console import Console

from agentkit.cli.exit_codes import ExitCode, error_text, print_notice
from agentkit.cli.formatting import format_json
from agentkit.cli.interrupts import wake_on_ctrl_c
from agentkit.cli.live_view import LiveView, console_for, print_answer
from agentkit.cli.session_argument import parse_session_argument
from agentkit.cli.targets import Target
from agentkit.core.dicts import messages_of, stored
from agentkit.core.errors import InvalidRequest, Partial
from agentkit.core.messages import Usage
from agentkit.core.printable import PROSE, format_call, printable
from agentkit.core.state import Step
from agentkit.runs.events import StepFinished, TimedEvent
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.result import Result
from agentkit.runs.timeline import run_facts, timeline_of
from agentkit.tools.approval import Approver

_SECONDS_TO_HINT = 3.0
_READING = "reading the standard input until it ends; with < /dev/null there is none"
_NO_PROMPT = 'the prompt is missing: agentkit {0} TARGET "Is it raining in Paris?", or echo "…" | agentkit {0} TARGET'


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `agentkit run`. Without a prompt, it resumes the session."""

    target: Target
    prompt: str | None
    session: str | None = None
    streamed: bool | None = None
    as_json: bool = False
    verbosity: int = 0
    curl: bool = False

    def streams_to(self, out: TextIO) -> bool:
        streamed = out.isatty() if self.streamed is None else self.streamed
        return streamed and not self.as_json

    def messages(self) -> list[Any]:
        return [] if self.prompt is None else [*messages_of(self.prompt)]


def read_prompt(words: list[str], stdin: TextIO, *, optional: bool, command: str = "run") -> str | None:
    """Return the prompt: the words, with the standard input in the place of `-`, or below them if it is a pipe."""
    piped = _read_to_its_end(stdin) if "-" in words or not stdin.isatty() else ""
    if "-" in words:
        prompt = " ".join([piped if word == "-" else word for word in words]).strip()
    else:
        prompt = "\n\n".join([part for part in (" ".join(words).strip(), piped) if part])
    if not prompt and not optional:
        raise InvalidRequest(_NO_PROMPT.format(command))
    return prompt or None


def _read_to_its_end(stdin: TextIO) -> str:
    """Read a pipe. A program that started this one may hold it open for ever, so a notice says what is waited for."""
    if stdin.isatty():
        return stdin.read().strip()
    timer = Timer(_SECONDS_TO_HINT, print_notice, [_READING])
    timer.daemon = True
    timer.start()
    try:
        return stdin.read().strip()
    finally:
        timer.cancel()


async def show_request(options: RunOptions) -> ExitCode:
    """Print the first request of the run, and send nothing."""
    async with options.target.opened() as agent:
        history = await parse_session_argument(options.session).session.load()
        messages = [*history.messages, *options.messages()]
        request = agent.dry_run(messages, streamed=options.streams_to(sys.stdout))
    sys.stdout.write(f"{request.curl() if options.curl else request}\n")
    return ExitCode.OK


async def run(options: RunOptions) -> ExitCode:
    """Run the agent. The answer goes to stdout; all the rest, including what tools print, goes to stderr."""
    out, place = sys.stdout, parse_session_argument(options.session)
    streamed = options.streams_to(out)
    err = console_for(sys.stderr)
    view = LiveView(out if streamed else None, err, options.verbosity)
    session = None if place.file is None else place.session
    approver = terminal_approver(err, view.activity.held)
    run_input = RunInput(tuple(options.messages()), None, approver, session, emit=view)
    with redirect_stdout(cast("TextIO", view.printed)), wake_on_ctrl_c():
        async with options.target.opened() as agent:
            try:
                result = await perform(agent.plan._replace(streamed=streamed), run_input)
            except BaseException as error:
                view.close()
                if place.file is not None:
                    print_notice(f"the conversation is saved in {place}")
                if options.as_json and isinstance(error, Exception):
                    out.write(format_json(error_to_dict(error)))
                raise
    view.close()
    if options.as_json:
        out.write(format_json(result_to_dict(result)))
    elif result.stop != "paused" and (view.out is None or view.text != result.output):
        show_output(out, result.output)
    out.flush()
    resume = f"to decide, resume at a terminal: agentkit run TARGET --session {place}"
    return exit_code_of_result(result, resume if place.file else "to decide, run at a terminal, or with --session FILE")


def terminal_approver(err: Console, held: Callable[[], AbstractContextManager[None]] = nullcontext) -> Approver | None:
    """Return an approver that asks at the terminal, if there is one; nothing else is shown while `held` is open."""
    if not (sys.stdin.isatty() and err.is_terminal):
        return None
    prompts: Any = import_module("agentkit.cli.approval_prompt")
    approver: Approver = prompts.approval_prompt(err, prompts.line_reader(), held)
    return approver


def result_to_dict(result: Result[Any]) -> dict[str, object]:
    return {
        **_record(result.steps, result.events),
        "output": to_jsonable_python(result.output, fallback=str, inf_nan_mode="strings"),
        "stop": result.stop,
        "pending": [call.to_dict() for call in result.pending],
        "usage": asdict(result.usage),
        "start": result.start,
        "messages": [stored(message) for message in result.messages],
    }


def error_to_dict(error: Exception) -> dict[str, object]:
    """Return the error that ended a run, in the shape of a result."""
    partial: Partial = getattr(error, "partial", None) or Partial((), Usage())
    steps = [event.step for _, event in partial.events if isinstance(event, StepFinished)]
    begins = [at for at, message in enumerate(partial.messages) if steps and message is steps[0].message]
    return {
        **_record(steps, partial.events),
        "output": None,
        "stop": None,
        "pending": [],
        "usage": asdict(partial.usage),
        "error": {"type": type(error).__name__, "text": error_text(error)},
        "start": begins[0] if begins else 0,
        "messages": [stored(message) for message in partial.messages],
    }


def _record(steps: Sequence[Step], events: Sequence[TimedEvent]) -> dict[str, object]:
    """Return the steps of a run, and what its events say."""
    times, calls = timeline_of(events, len(steps))
    facts = run_facts(events)
    return {name: facts[name] for name in ("agent", "model", "seconds") if name in facts} | {
        "steps": [_step_to_dict(step, time) for step, time in zip(steps, times, strict=True)],
        "calls": [{"step": step, "id": call_id, **known} for (step, call_id), known in calls.items()],
    }


def _step_to_dict(step: Step, time: Mapping[str, object]) -> dict[str, object]:
    retried = [] if step.reply is None else [retry._asdict() for retry in step.reply.retried]
    return {
        "choice": str(step.choice),
        "policy": step.policy,
        "decided_by": step.decided_by,
        "calls": [call.name for call in step.message.tool_calls],
        "violation": None if step.violation is None else str(step.violation),
        "finish_reason": step.finish_reason,
        "usage": asdict(step.usage),
        **({"retried": retried} if retried else {}),
        **time,
    }


def show_output(out: TextIO, output: object) -> None:
    """Print a text as an answer, and a structured output as JSON."""
    if isinstance(output, str):
        print_answer(out, output)
        return
    data = to_jsonable_python(output, fallback=str, inf_nan_mode="strings")
    out.write(f"{printable(json.dumps(data, ensure_ascii=False, indent=2), PROSE)}\n")
    out.flush()


def exit_code_of_result(result: Result[Any], how_to_decide: str) -> ExitCode:
    """Return the exit code, and print what the output does not say: pending calls, or a missing answer."""
    if result.stop == "paused":
        for call in result.pending:
            print_notice(f"waiting for approval: {format_call(call)}")
        print_notice(how_to_decide)
        return ExitCode.PAUSED
    if result.stop in ("refusal", "empty"):
        print_notice("the model refused to answer" if result.stop == "refusal" else "the model's answer is empty")
        return ExitCode.FAILED
    return ExitCode.OK
