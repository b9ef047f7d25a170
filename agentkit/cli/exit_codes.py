"""How a command ends: the exit codes, and errors in one line."""

import sys
import traceback as tracebacks
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum

import typer

from agentkit.cli.formatting import line
from agentkit.core.errors import AgentkitError, ConfigurationError, InvalidRequest


class Code(IntEnum):
    """What a command ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PAUSED = 3
    INTERRUPTED = 130


def tell(text: str) -> None:
    """Tell people something, beside what the command gives."""
    typer.echo(f"agentkit: {line(text)}", err=True)


def code_of(error: Exception) -> Code:
    """Give the code for an error."""
    return Code.USAGE if isinstance(error, ConfigurationError | InvalidRequest) else Code.FAILED


@contextmanager
def told(*, traceback: bool) -> Generator[None]:
    """Tell the error that ends a command, in one line unless its traceback is wanted.

    Raises:
        typer.Exit: With the code for the error.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        tell("stopped")
        raise typer.Exit(Code.INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001 (whatever ends a command is told)
        if traceback:
            tracebacks.print_exception(error, file=sys.stderr)
        tell(text_of(error))
        raise typer.Exit(code_of(error)) from None


def text_of(error: BaseException) -> str:
    """Say what an error is; one that is not agentkit's own is told with its type."""
    if isinstance(error, AgentkitError):
        return str(error)
    said = str(error)
    return f"{type(error).__name__}{': ' if said else ''}{said} (--traceback shows where)"
