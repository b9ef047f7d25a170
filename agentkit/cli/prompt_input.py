"""The prompt of `agentkit chat`: input of several lines, with history and completion of commands."""

import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output
from prompt_toolkit.shortcuts import CompleteStyle

_OWNER_ONLY, _FOLDER_OWNER_ONLY = 0o600, 0o700

PromptInput: TypeAlias = Callable[[], Awaitable[str]]
"""Reads the next prompt."""


def open_history() -> History:
    """Open the history file, which only its owner can read; if that fails, keep the history in memory."""
    file = Path(typer.get_app_dir("agentkit")) / "history"
    try:
        file.parent.mkdir(_FOLDER_OWNER_ONLY, parents=True, exist_ok=True)
        file.touch(_OWNER_ONLY)
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)


def prompt_input(question: str, words: Iterable[str], history: History) -> PromptInput:
    """Return a reader of prompts from the terminal; it completes `words` at the beginning of the input."""
    session: PromptSession[str] = PromptSession(
        history=history,
        completer=WordCompleter(list(words), sentence=True),
        complete_style=CompleteStyle.READLINE_LIKE,
        complete_while_typing=False,
        reserve_space_for_menu=0,
        multiline=True,
        key_bindings=_key_bindings(),
        output=create_output(stdout=sys.stderr),
        prompt_continuation=lambda width, _line, _soft: "· ".rjust(width),
    )

    async def read() -> str:
        return await session.prompt_async(question, handle_sigint=False)

    return read


def _key_bindings() -> KeyBindings:
    """Make Enter send the prompt; Alt-Enter, or a backslash before Enter, starts a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
