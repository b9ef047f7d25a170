"""Options that several commands have, and the loading of a command's code when it is called."""

from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer

from agentkit.cli.exit_codes import ExitCode

TargetArgument = Annotated[
    str, typer.Argument(metavar="TARGET", help="The agent; see agentkit --help.", show_default=False)
]
Targets = Annotated[
    list[str], typer.Argument(metavar="TARGET", help="The agents; see agentkit --help.", show_default=False)
]
Prompt = Annotated[
    list[str] | None,
    typer.Argument(metavar="PROMPT", help="The prompt; a pipe is added, or stands where - does.", show_default=False),
]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Use another model: gpt-5, local or local:FILE.gguf.")]
BaseUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Use another endpoint, such as http://127.0.0.1:8080/v1.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Use another key. Command lines are visible to others on this machine: better set AGENTKIT_API_KEY.",
    ),
]
ServeKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        metavar="KEY",
        envvar="AGENTKIT_SERVE_KEY",
        show_envvar=False,
        help="The key of the served agents, which clients must send. Command lines are visible to others on this "
        "machine: better set AGENTKIT_SERVE_KEY.",
    ),
]
System = Annotated[str | None, typer.Option(metavar="TEXT", help="The system prompt of a model by name, as gpt-5 is.")]
Temperature = Annotated[float | None, typer.Option(metavar="0..2", help="Its temperature; 0 is the most repeatable.")]
TopP = Annotated[float | None, typer.Option(metavar="0..1", help="Sample from its most likely tokens only.")]
MaxTokens = Annotated[int | None, typer.Option(metavar="N", help="The most tokens of its answer.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="The seed of its sampling.")]
Effort = Annotated[str | None, typer.Option(metavar="WORD", help="How much it thinks: low, medium or high.")]
Session = Annotated[
    str | None,
    typer.Option(metavar="FILE[:NAME]", help="Store and resume the conversation: shop.db:ann (SQLite) or ann.jsonl."),
]
Names = Annotated[
    list[str] | None, typer.Option("--name", metavar="NAME", help="The agent's name; once for each target, in order.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Hide tool calls.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show steps, usage, and tool calls in full.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Traceback = Annotated[
    bool,
    typer.Option("--traceback", envvar="AGENTKIT_TRACEBACK", show_envvar=False, help="Show the traceback of an error."),
]


def verbosity(*, quiet: bool, verbose: bool) -> int:
    """Return -1, 0 or 1."""
    return int(verbose) - int(quiet)


def lazy(name: str) -> Any:
    """Import a module only now, so that `--help` and completion are fast."""
    return import_module(name)


def target_of(text: str, model: str | None = None, base_url: str | None = None, **more: object) -> object:
    """Return a target; `more` are the key, the system prompt, and settings of a model without a file."""
    own = {name: more.pop(name, None) for name in ("api_key", "system")}
    settings = {name: value for name, value in more.items() if value is not None}
    return lazy("agentkit.cli.targets").Target(text, model, base_url, **own, settings=settings)


def targets_of(texts: list[str], model: str | None, base_url: str | None) -> list[object]:
    return [target_of(text, model, base_url) for text in texts]


def run_command(module: str, function: str, *args: object, **options: object) -> None:
    """Run the async function of a command, and exit with its code."""
    command = getattr(lazy(f"agentkit.cli.{module}"), function)
    code: ExitCode = lazy("anyio").run(partial(command, *args, **options))
    raise typer.Exit(code)
