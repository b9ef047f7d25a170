"""Asking the person at the terminal whether a call may run."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeAlias, cast

from anyio import Lock
from prompt_toolkit import PromptSession
from prompt_toolkit.output import create_output
from rich.console import Console

from agentkit.cli.formatting import call_of
from agentkit.cli.live_view import put
from agentkit.core.json import decode
from agentkit.core.messages import ToolCall
from agentkit.tools.approval import Approver, Decision, approve, deny

Read: TypeAlias = Callable[[str, str], Awaitable[str]]
"""Reads a line: what it is asked with, and what stands there already."""

_HELP = "y runs it · n does not · n REASON tells the model why · e edits its arguments · Ctrl-C leaves it waiting"


def reader() -> Read:
    """Give what reads lines at the terminal; what is asked goes to stderr."""
    session: PromptSession[str] = PromptSession(output=create_output(stdout=sys.stderr))

    async def read(question: str, given: str) -> str:
        return await session.prompt_async(question, default=given, handle_sigint=False)

    return read


def asking(console: Console, read: Read) -> Approver:
    """Make an approver that asks; questions come one at a time.

    Args:
        console: Where the calls are shown.
        read: Reads the answers.
    """
    lock = Lock()

    async def ask(call: ToolCall) -> Decision | None:
        async with lock:
            put(console, ("? ", "bold yellow"), ("May it run ", "bold"), call_of(call), ("?", "bold"), whole=True)
            try:
                return await _decided(call, console, read)
            except (KeyboardInterrupt, EOFError):
                return None

    return ask


async def _decided(call: ToolCall, console: Console, read: Read) -> Decision:
    while True:
        said, _, reason = (await read("[y/n/e/?] ", "")).strip().partition(" ")
        match said.lower():
            case "y" | "yes":
                return approve(call)
            case "n" | "no":
                return deny(call, reason.strip())
            case "e" | "edit":
                arguments = await _edited(call, console, read)
                if arguments is not None:
                    return approve(call, arguments)
            case _:
                put(console, (_HELP, "dim"))


async def _edited(call: ToolCall, console: Console, read: Read) -> dict[str, object] | None:
    """Have the arguments edited, until they are an object; `None` if they are left as they are."""
    text = call.arguments
    while True:
        text = await read("arguments: ", text)
        if not text.strip() or text == call.arguments:
            put(console, ("its arguments stay as they are", "dim"))
            return None
        try:
            given = decode(text)
        except ValueError as error:
            put(console, (f"no JSON: {error}", "red"))
            continue
        if isinstance(given, dict):
            return cast("dict[str, object]", given)
        put(console, ('arguments are a JSON object, such as {"city": "Paris"}', "red"))
