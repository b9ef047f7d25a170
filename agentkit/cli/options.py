"""What several commands take, and how they load what they need."""

from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer

from agentkit.cli.exit_codes import Code

ToAgent = Annotated[str, typer.Argument(metavar="TARGET", help="Which agent; see agentkit --help.", show_default=False)]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Ask another model: a name, local, local:FILE.gguf.")]
BaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="Ask another endpoint than that of the environment.")]
Session = Annotated[
    str | None,
    typer.Option(metavar="FILE[:NAME]", help="Keep the conversation, and go on with it: SQLite, or FILE.jsonl."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not show tool calls.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show steps, costs, and all of each call.")]
Json = Annotated[bool, typer.Option("--json", help="Give JSON.")]
Traceback = Annotated[
    bool,
    typer.Option("--traceback", envvar="AGENTKIT_TRACEBACK", show_envvar=False, help="Show where an error came from."),
]


def verbosity(*, quiet: bool, verbose: bool) -> int:
    """Say how much is shown beside the answer: -1, 0 or 1."""
    return int(verbose) - int(quiet)


def loaded(name: str) -> Any:
    """Load a module only now, so that help and completion come at once."""
    return import_module(name)


def target_of(text: str, model: str | None = None, base_url: str | None = None) -> object:
    """Give the target that was named."""
    return loaded("agentkit.cli.targets").Target(text, model, base_url)


def do(name: str, *given: object, **more: object) -> None:
    """Do an async command, which has the name of its module."""
    command = getattr(loaded(f"agentkit.cli.{name}"), name)
    code: Code = loaded("anyio").run(partial(command, *given, **more))
    raise typer.Exit(code)
