"""`agentkit chat`: a conversation at the terminal."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, cast

from anyio import CancelScope
from rich.console import Console

from agentkit.cli.approval_prompt import approval_prompt, line_reader
from agentkit.cli.exit_codes import ExitCode, error_text
from agentkit.cli.formatting import format_usage
from agentkit.cli.interrupts import wake_on_ctrl_c
from agentkit.cli.live_view import LiveView, console_for, print_line
from agentkit.cli.prompt_input import PromptInput, open_history, prompt_input
from agentkit.cli.run import show_output
from agentkit.cli.session_argument import SessionArgument, parse_session_argument
from agentkit.cli.targets import AnyAgent, Target
from agentkit.cli.transcript import print_transcript, transcript_of
from agentkit.core.dicts import dumps, messages_of
from agentkit.core.errors import AgentkitError, ConfigurationError
from agentkit.core.messages import Message
from agentkit.core.printable import format_call
from agentkit.core.repair import repaired
from agentkit.core.state import State
from agentkit.runs.lifecycle import RunInput, perform
from agentkit.runs.result import Result
from agentkit.tools.approval import Approver

_SECONDS_TO_HINT = 0.5
_OWNER_ONLY = 0o600
_LEAVING = ("exit", "quit")  # as in other programs; a prompt of this one word is unlikely
_NOT_A_TERMINAL = 'chat needs a terminal; in a pipe, use run: echo "Hello" | agentkit run TARGET'


@dataclass(slots=True)
class Chat:
    """A conversation with an agent; answers go to `out`, all the rest to `err`."""

    agent: AnyAgent
    place: SessionArgument
    view: LiveView
    out: TextIO
    err: Console
    approver: Approver
    read: PromptInput
    scope: CancelScope | None = None
    """The cancel scope of the current run, if there is one."""

    async def loop(self) -> None:
        """Read and answer prompts until the person leaves, which raises `EOFError`."""
        await self._greet()
        pressed_ctrl_c = False
        with suppress(EOFError):
            while True:
                try:
                    line = (await self.read()).strip()
                except KeyboardInterrupt:
                    if pressed_ctrl_c:
                        return
                    pressed_ctrl_c = True
                    self.say("to leave: Ctrl-C again, Ctrl-D or /quit")
                    continue
                pressed_ctrl_c = False
                if line:
                    await self._handle(line)

    async def _handle(self, line: str) -> None:
        """Run a command or a prompt."""
        name, _, rest = line.partition(" ")
        if line.lower() in _LEAVING:
            raise EOFError
        if not name.startswith("/"):
            await self.turn(line)
        elif name not in COMMANDS:
            self.say(f"there is no command {name}; /help lists them")
        else:
            command, _ = COMMANDS[name]
            try:
                await command(self, rest.strip())
            except (AgentkitError, OSError) as error:
                self.show_error(error)

    async def turn(self, prompt: str | None) -> None:
        """Run the agent. Ctrl-C stops the run and keeps the conversation."""
        messages = () if prompt is None else messages_of(prompt)
        run_input = RunInput(messages, None, self.approver, self.place.session, emit=self.view)
        plan = self.agent.plan._replace(streamed=True)
        result: Result[Any] | None = None
        try:
            with CancelScope() as self.scope, redirect_stdout(cast("TextIO", self.view.printed)):
                result = await perform(plan, run_input)
        except Exception as error:  # noqa: BLE001 (the conversation goes on)
            self.view.close()
            self.show_error(error)
            return
        finally:
            self.view.close()
            self.scope = None
        if result is None:
            self.out.write("\n")  # after the ^C that the terminal shows
            self.say("stopped; /continue resumes")
            return
        if result.stop == "paused":
            pending = "; ".join(map(format_call, result.pending))
            self.say(f"waiting for approval: {pending}. /continue asks again")
        elif self.view.text != result.output:
            show_output(self.out, result.output)

    def interrupt(self, _: int, __: FrameType | None) -> None:
        """Handle Ctrl-C: cancel the current run; the second time, end the program."""
        scope = self.scope
        if scope is None:
            return  # at the prompt, Ctrl-C is a key and no signal; this signal came in between
        if scope.cancel_called:
            raise KeyboardInterrupt
        asyncio.get_running_loop().call_soon_threadsafe(self._cancel, scope)

    def _cancel(self, scope: CancelScope) -> None:
        scope.cancel()
        asyncio.get_running_loop().call_later(_SECONDS_TO_HINT, self._hint, scope)

    def _hint(self, scope: CancelScope) -> None:
        if self.scope is scope:
            self.say("not stopped yet; Ctrl-C again ends the program at once")

    async def messages(self) -> tuple[Message, ...]:
        return repaired((await self.place.session.load()).messages)[0]

    def say(self, text: str) -> None:
        print_line(self.err, (text, "dim"))

    def show_error(self, error: Exception) -> None:
        print_line(self.err, (error_text(error), "red"), full_width=True)

    async def _greet(self) -> None:
        tools = len(self.agent.plan.toolbox)
        self.say(f"{self.agent.plan.model.name}, {tools} tool{'' if tools == 1 else 's'}; /help, Ctrl-D leaves")
        messages = (await self.place.session.load()).messages
        if messages:
            pending = " Calls wait for approval: /continue" if State.of(messages).unanswered else ""
            self.say(f"resuming {self.place}, {len(messages)} messages; /history shows them.{pending}")


async def _help(chat: Chat, _: str) -> None:
    for name, (_command, text) in COMMANDS.items():
        print_line(chat.err, (f"{name:<14}", "cyan"), text)
    chat.say("Enter sends; Alt-Enter, or \\ before Enter, starts a new line.")
    chat.say("Ctrl-C stops an answer.")


async def _tools(chat: Chat, _: str) -> None:
    for tool in chat.agent.plan.toolbox:
        print_line(chat.err, (f"{tool.name:<20} ", "cyan"), tool.spec.description)
    if not len(chat.agent.plan.toolbox):
        chat.say("no tools")


async def _usage(chat: Chat, _: str) -> None:
    chat.say(f"in this chat: {format_usage(chat.view.usage)}")


async def _save(chat: Chat, name: str) -> None:
    if not name:
        raise ConfigurationError("/save needs a file: /save chat.json")
    messages = await chat.messages()
    _write_new(Path(name), dumps(messages))
    chat.say(f"saved {len(messages)} messages; agentkit replay {name} shows them")


def _write_new(file: Path, text: str) -> None:
    file = file.expanduser()
    file.touch(_OWNER_ONLY, exist_ok=False)  # an existing file is not overwritten
    file.write_text(text, encoding="utf-8")


async def _history(chat: Chat, _: str) -> None:
    messages = await chat.messages()
    print_transcript(chat.err, transcript_of(messages))
    if not messages:
        chat.say("no messages yet")


async def _clear(chat: Chat, answer: str) -> None:
    if chat.place.file is not None and answer != "yes":
        chat.say(f"this deletes the conversation in {chat.place}; to confirm: /clear yes")
        return
    chat.place = await chat.place.clear()
    chat.say("the conversation is deleted")


async def _continue(chat: Chat, _: str) -> None:
    await chat.turn(None)


async def _quit(_: Chat, __: str) -> None:
    raise EOFError


COMMANDS: Mapping[str, tuple[Callable[[Chat, str], Awaitable[None]], str]] = {
    "/tools": (_tools, "list the agent's tools"),
    "/usage": (_usage, "show tokens and cost"),
    "/history": (_history, "show the conversation"),
    "/continue": (_continue, "resume after an error, Ctrl-C, or a pause"),
    "/save": (_save, "FILE: write the conversation to a new file, as JSON"),
    "/clear": (_clear, "delete the conversation"),
    "/help": (_help, "show this list"),
    "/quit": (_quit, "leave; so do exit, quit and Ctrl-D"),
}
"""The commands, each with its text in `/help`; they get the rest of the line."""


async def chat(target: Target, session: str | None, verbosity: int) -> ExitCode:
    """Talk with an agent until the person leaves; `session` is `FILE[:NAME]`."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigurationError(_NOT_A_TERMINAL)
    place, err = parse_session_argument(session), console_for(sys.stderr)
    async with target.opened() as agent:
        read = prompt_input("> ", COMMANDS, open_history())
        view = LiveView(sys.stdout, err, verbosity)
        approver = approval_prompt(err, line_reader(), view.activity.held)
        conversation = Chat(agent, place, view, sys.stdout, err, approver, read)
        with wake_on_ctrl_c(conversation.interrupt):
            await conversation.loop()
        if place.file is not None:
            conversation.say(f"saved in {conversation.place}")
    return ExitCode.OK
