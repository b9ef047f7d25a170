"""`agentkit chat`: a conversation at the terminal."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, TypeAlias

from anyio import CancelScope
from rich.console import Console

from agentkit.cli.approval_prompt import asking, reader
from agentkit.cli.exit_codes import Code, text_of
from agentkit.cli.formatting import call_of, usage_of
from agentkit.cli.interrupts import told_of_ctrl_c
from agentkit.cli.live_view import Shown, console_on, put
from agentkit.cli.prompt_input import Lines, history_file, history_in, typed
from agentkit.cli.run import text_of_output
from agentkit.cli.session_argument import Place, place_of
from agentkit.cli.targets import AnyAgent, Target
from agentkit.cli.transcript import tell_story, told_of
from agentkit.core.dicts import dumps, messages_of
from agentkit.core.errors import AgentkitError, ConfigurationError
from agentkit.core.messages import Message
from agentkit.core.repair import repaired
from agentkit.core.state import State
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.result import Result
from agentkit.tools.approval import Approver

_PATIENCE = 0.5
_PRIVATE = 0o600
_NOT_A_TERMINAL = "chat needs a terminal; for a prompt from a pipe: agentkit run TARGET"


@dataclass(slots=True)
class Chat:
    """A conversation under way.

    Attributes:
        agent: Who is spoken with.
        place: Where the conversation is kept.
        shown: Shows what happens.
        out: Where answers go.
        err: Where all the rest goes.
        approver: Who decides on calls.
        read: Reads what is said next.
        scope: That of the answer that is under way.
    """

    agent: AnyAgent
    place: Place
    shown: Shown
    out: TextIO
    err: Console
    approver: Approver
    read: Lines
    scope: CancelScope | None = None

    async def go(self) -> None:
        """Go on until the person leaves."""
        await self._greet()
        leaving = False
        while True:
            try:
                said = (await self.read()).strip()
            except KeyboardInterrupt:
                if leaving:
                    return
                leaving = True
                self.tell("Ctrl-C again, Ctrl-D or /quit leaves")
                continue
            except EOFError:
                return
            leaving = False
            if said and not await self._do(said):
                return

    async def _do(self, said: str) -> bool:
        """Do what was typed; say whether the conversation goes on."""
        name, _, rest = said.partition(" ")
        if name == "/quit":
            return False
        if not name.startswith("/"):
            await self.turn(said)
            return True
        command = COMMANDS.get(name)
        if command is None:
            self.tell(f"there is no {name}; /help shows what there is")
            return True
        try:
            await command.do(self, rest.strip())
        except (AgentkitError, OSError) as error:
            self.fail(error)
        return True

    async def turn(self, prompt: str | None) -> None:
        """Have the agent answer; Ctrl-C stops it, and what was said is kept."""
        messages = () if prompt is None else messages_of(prompt)
        given = RunInput(messages, None, self.approver, self.place.session, emit=self.shown)
        plan = replace(self.agent.plan, streamed=True)
        result: Result[Any] | None = None
        try:
            with CancelScope() as self.scope, redirect_stdout(sys.stderr):
                result = await perform(plan, given)
        except Exception as error:  # noqa: BLE001 (the conversation goes on)
            self.shown.closed()
            self.fail(error)
            return
        finally:
            self.scope = None
        self.shown.closed()
        if result is None:
            self.out.write("\n")  # after the ^C that the terminal shows
            self.tell("stopped; /continue goes on from here")
            return
        if result.stop == "paused":
            self.tell(f"waits for approval: {'; '.join(map(call_of, result.pending))}. /continue asks again")
        elif self.shown.text != result.output:
            self.out.write(f"{text_of_output(result.output)}\n")
            self.out.flush()

    def interrupt(self, _: int, __: FrameType | None) -> None:
        """Stop the answer that is under way, as Ctrl-C does; the second time, end the program."""
        scope = self.scope
        if scope is None:
            return  # what is typed at the prompt is no signal, so this came between
        if scope.cancel_called:
            raise KeyboardInterrupt
        asyncio.get_running_loop().call_soon_threadsafe(self._stop, scope)

    def _stop(self, scope: CancelScope) -> None:
        scope.cancel()
        asyncio.get_running_loop().call_later(_PATIENCE, self._hint, scope)

    def _hint(self, scope: CancelScope) -> None:
        if self.scope is scope:
            self.tell("it has not stopped yet; Ctrl-C again leaves at once")

    async def messages(self) -> tuple[Message, ...]:
        """Give the conversation until now."""
        return repaired((await self.place.session.load()).messages)[0]

    def tell(self, text: str) -> None:
        """Tell the person something."""
        put(self.err, (text, "dim"))

    def fail(self, error: Exception) -> None:
        """Tell an error."""
        put(self.err, (text_of(error), "red"), whole=True)

    async def _greet(self) -> None:
        tools = len(self.agent.tools)
        self.tell(f"{self.agent.plan.model.name}, {tools} tool{'' if tools == 1 else 's'}; /help, Ctrl-D leaves")
        kept = (await self.place.session.load()).messages
        if kept:
            open_calls = " Calls wait: /continue" if State.of(kept).unanswered else ""
            self.tell(f"goes on from {len(kept)} messages in {self.place}; /history shows them.{open_calls}")


Do: TypeAlias = Callable[[Chat, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command:
    """What can be typed instead of a prompt: what it does, and what `/help` says of it."""

    do: Do
    help: str


async def _help(chat: Chat, _: str) -> None:
    for name, command in COMMANDS.items():
        put(chat.err, (f"{name:<14}", "cyan"), command.help)
    chat.tell("Enter sends; Alt-Enter, or \\ before Enter, begins another line. Ctrl-C stops an answer.")


async def _tools(chat: Chat, _: str) -> None:
    for each in chat.agent.tools:
        put(chat.err, (f"{each.name:<20} ", "cyan"), each.spec.description)
    if not len(chat.agent.tools):
        chat.tell("it has no tools")


async def _usage(chat: Chat, _: str) -> None:
    chat.tell(f"since the beginning of this chat: {usage_of(chat.shown.usage)}")


async def _save(chat: Chat, rest: str) -> None:
    if not rest:
        raise ConfigurationError("say where: /save FILE")
    messages = await chat.messages()
    _write(Path(rest), dumps(messages))
    chat.tell(f"{len(messages)} messages are in {rest}; agentkit replay {rest} shows them")


def _write(file: Path, text: str) -> None:
    file = file.expanduser()
    file.touch(_PRIVATE, exist_ok=False)  # what is there is not written over
    file.write_text(text, encoding="utf-8")


async def _history(chat: Chat, _: str) -> None:
    messages = await chat.messages()
    tell_story(chat.err, told_of(messages))
    if not messages:
        chat.tell("nothing was said yet")


async def _clear(chat: Chat, rest: str) -> None:
    if chat.place.file is not None and rest != "yes":
        chat.tell(f"this takes the conversation out of {chat.place}: /clear yes")
        return
    chat.place = await chat.place.forgotten()
    chat.tell("the conversation begins anew")


async def _continue(chat: Chat, _: str) -> None:
    await chat.turn(None)


async def _quit(_: Chat, __: str) -> None:
    """Leave; the loop does."""


COMMANDS: Mapping[str, Command] = {
    "/tools": Command(_tools, "what tools the agent has"),
    "/usage": Command(_usage, "what the requests have cost"),
    "/history": Command(_history, "the conversation until now"),
    "/continue": Command(_continue, "go on where it stopped: after an error, Ctrl-C, or calls that wait"),
    "/save": Command(_save, "FILE: write the conversation to a file, as JSON"),
    "/clear": Command(_clear, "forget the conversation"),
    "/help": Command(_help, "this"),
    "/quit": Command(_quit, "leave"),
}


async def chat(target: Target, session: str | None, verbosity: int) -> Code:
    """Speak with an agent until the person leaves.

    Args:
        target: Which agent.
        session: Where the conversation is kept.
        verbosity: How much is shown of what the agent does.

    Raises:
        ConfigurationError: If there is no terminal, or no agent.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigurationError(_NOT_A_TERMINAL)
    place, err = place_of(session), console_on(sys.stderr)
    async with target.opened() as agent:
        read = typed("> ", COMMANDS, history_in(history_file()))
        shown = Shown(sys.stdout, err, verbosity)
        under_way = Chat(agent, place, shown, sys.stdout, err, asking(err, reader()), read)
        with told_of_ctrl_c(under_way.interrupt):
            await under_way.go()
        if place.file is not None:
            under_way.tell(f"kept in {under_way.place}")
    return Code.OK
