"""The question at the terminal whether a tool call may run."""

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias, cast

from anyio import Lock
from prompt_toolkit import PromptSession
from prompt_toolkit.output import create_output
from rich.console import Console

from agentkit.cli.live_view import print_line
from agentkit.core.json import decode
from agentkit.core.messages import ToolCall
from agentkit.core.printable import printable
from agentkit.tools.approval import Approver, Decision, approve, deny, question_of

ReadLine: TypeAlias = Callable[[str, str], Awaitable[str]]
"""Reads a line; takes the question and the text to edit."""

_MARK = "? "
_HELP = (
    "y or yes, alone, runs it; n denies it; n REASON also tells the model why",
    "e edits the arguments; Ctrl-C leaves it pending",
)


def line_reader() -> ReadLine:
    """Return a reader of lines from the terminal; its questions go to stderr."""
    session: PromptSession[str] = PromptSession(output=create_output(stdout=sys.stderr))

    async def read(question: str, default: str) -> str:
        return await session.prompt_async(question, default=default, handle_sigint=False)

    return read


def approval_prompt(
    console: Console, read: ReadLine, held: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Approver:
    """Make an approver that asks the person at the terminal, one call at a time, each within `held`."""
    lock = Lock()

    async def ask(call: ToolCall) -> Decision | None:
        async with lock:
            with held():
                first, *others = question_of(call, console.width - len(_MARK))
                print_line(console, (_MARK, "bold yellow"), first, full_width=True)
                for line in others:
                    print_line(console, line, full_width=True)
                try:
                    return await _read_decision(call, console, read)
                except (KeyboardInterrupt, EOFError):
                    return None

    return ask


async def _read_decision(call: ToolCall, console: Console, read: ReadLine) -> Decision:
    while True:
        word, _, reason = (await read("[y/n/e/?] ", "")).strip().partition(" ")
        match word.lower():
            case "y" | "yes" if not reason:  # "yes but only /tmp" is none
                return approve(call)
            case "n" | "no":
                return deny(call, reason.strip())
            case "e" | "edit" if not reason:
                arguments = await _edit_arguments(call, console, read)
                if arguments is not None:
                    return approve(call, arguments)
            case _:
                for line in _HELP:
                    print_line(console, (line, "dim"), full_width=True)


async def _edit_arguments(call: ToolCall, console: Console, read: ReadLine) -> dict[str, object] | None:
    """Return the edited arguments once they are a JSON object; `None` if they were not changed."""
    text = shown = printable(call.arguments)  # the same JSON
    while True:
        text = await read("arguments: ", text)
        if not text.strip() or text == shown:
            print_line(console, ("the arguments are unchanged", "dim"))
            return None
        try:
            arguments = decode(text)
        except ValueError as error:
            print_line(console, (f"not valid JSON: {error}", "red"))
            continue
        if isinstance(arguments, dict):
            return cast("dict[str, object]", arguments)
        print_line(console, ('arguments are a JSON object, such as {"city": "Paris"}', "red"))
