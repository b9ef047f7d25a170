"""Reading what a person types: several lines, a history, and the names of commands."""

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

_PRIVATE, _PRIVATE_FOLDER = 0o600, 0o700

Lines: TypeAlias = Callable[[], Awaitable[str]]
"""Reads what is said next."""


def history_file() -> Path:
    """Give where the history of what was typed is kept."""
    return Path(typer.get_app_dir("agentkit")) / "history"


def history_in(file: Path) -> History:
    """Give a history that is kept in a file for its owner only; without a folder for it, one that is not kept."""
    try:
        file.parent.mkdir(_PRIVATE_FOLDER, parents=True, exist_ok=True)
        file.touch(_PRIVATE)
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)


def typed(question: str, words: Iterable[str], history: History) -> Lines:
    """Give what reads lines at the terminal.

    Args:
        question: What stands before the line.
        words: What is completed at its beginning.
        history: What was typed before.
    """
    session: PromptSession[str] = PromptSession(
        history=history,
        completer=WordCompleter(list(words), sentence=True),
        complete_style=CompleteStyle.READLINE_LIKE,
        complete_while_typing=False,
        reserve_space_for_menu=0,
        multiline=True,
        key_bindings=_keys(),
        output=create_output(stdout=sys.stderr),
        prompt_continuation=lambda width, _line, _soft: "· ".rjust(width),
    )

    async def read() -> str:
        return await session.prompt_async(question, handle_sigint=False)

    return read


def _keys() -> KeyBindings:
    """Have Enter send what was typed, and Alt-Enter, or Enter after a backslash, begin another line."""
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
