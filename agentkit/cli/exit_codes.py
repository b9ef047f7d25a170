"""Exit codes of the commands, and errors as one line on stderr."""

import re
import sys
import traceback as tracebacks
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum

import typer

from agentkit.core.errors import AgentkitError, ConfigurationError, InvalidRequest
from agentkit.core.printable import LINES, one_line, printable


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    PAUSED = 3
    INTERRUPTED = 130


def print_notice(text: str) -> None:
    """Write one line to stderr, so that stdout has only the command's output."""
    typer.echo(f"agentkit: {one_line(text)}", err=True)


def exit_code_of(error: Exception) -> ExitCode:
    return ExitCode.USAGE if isinstance(error, ConfigurationError | InvalidRequest) else ExitCode.FAILED


@contextmanager
def exit_on_error(*, traceback: bool) -> Generator[None]:
    """Print an error as one line, after its traceback if that is wanted, and exit with its code."""
    try:
        yield
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        print_notice("stopped")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001 (a command ends with one line, whatever failed)
        if traceback:
            sys.stderr.write(printable("".join(tracebacks.format_exception(error)), LINES))
        print_notice(error_text(error))
        raise typer.Exit(exit_code_of(error)) from None


# What errors advise in Python, and the same in options.
_AS_OPTIONS = (
    (r"pass ChatClient\(model, base_url=…, api_key=…\)", "use --base-url and --api-key"),
    (r"pass ChatClient\(…, api_key=…\)|(?<=, or )ChatClient\(…, api_key=…\)", "use --api-key"),
    (r"pass base_url=…", "use --base-url"),
    (r"correct base_url", "correct AGENTKIT_BASE_URL or --base-url"),
    (r'use Agent\("local"\)', "the target is local"),
)


def error_text(error: BaseException) -> str:
    """Return the text of an error, with its type if it is not agentkit's own. It names options, not arguments."""
    if isinstance(error, AgentkitError):
        text = str(error)
        for in_python, option in _AS_OPTIONS:
            text = re.sub(in_python, option, text)
        return text
    return f"{type(error).__name__}: {error}".removesuffix(": ") + " (--traceback shows where)"
