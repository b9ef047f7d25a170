"""The commands that show stored runs: their options and help."""

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli import options
from agentkit.cli.exit_codes import exit_on_error
from agentkit.cli.options import lazy, run_command, target_of

stored_commands = typer.Typer(rich_markup_mode=None)


@stored_commands.command(
    epilog="""\b
Examples:
  agentkit replay shop.db:ann
  agentkit run weather.py --json "Is it raining?" > a.json; agentkit replay a.json
  agentkit replay tests/cassettes/weather.jsonl --whole
""",
)
def replay(
    file: Annotated[str, typer.Argument(metavar="FILE[:NAME]", help="The stored conversation.", show_default=False)],
    *,
    whole: Annotated[bool, typer.Option("--whole", help="Print long results in full.")] = False,
    as_json: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Print a stored conversation, with tool calls and usage.

    It reads sessions (SQLite or .jsonl), output of `agentkit run --json`, files of /save, and cassettes.
    """
    with exit_on_error(traceback=traceback):
        run_command("replay", "replay", file, as_json=as_json, whole=whole)


@stored_commands.command(
    epilog="""\b
Examples:
  agentkit view shop.db:ann
  agentkit run weather.py --json "Is it raining?" > a.json; agentkit view a.json
  agentkit view a.json --agent weather.py       # with the graph of its policy
  agentkit view a.json b.json --open            # two runs compared
  agentkit view shop.db:ann --live --open       # follows the conversation
  agentkit view ticket-77 --store runs.db       # a durable run
  agentkit view http://127.0.0.1:8000 --live    # a served agent
""",
)
def view(  # noqa: PLR0913 (the options of the command)
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The stored run: FILE, FILE:NAME or an id.", show_default=False)
    ],
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="Another one, to compare with.", show_default=False)
    ] = None,
    *,
    agent: Annotated[
        str | None, typer.Option(metavar="TARGET", help="The agent that ran, for the graph of its policy.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", envvar="AGENTKIT_STORE", show_envvar=False, help="The store of durable runs; RUN is an id."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write the page.")] = None,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Serve the page on this machine, and follow the run, or a served agent by its URL."
        ),
    ] = False,
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="The port for --live.")] = 0,
    api_key: options.ServeKey = None,
    traceback: options.Traceback = False,
) -> None:
    """Show a stored run as a page for the browser.

    The page has the run's time line, steps, tool calls, messages and usage, and the way through the policy. It is one
    HTML file that needs no network. It reads sessions (SQLite or .jsonl), output of `agentkit run
    --json`, cassettes, journals of batches, and with --store durable runs.
    """
    with exit_on_error(traceback=traceback):
        view_options = lazy("agentkit.cli.view").ViewOptions(
            runs=[run, *([] if other is None else [other])],
            agent=None if agent is None else target_of(agent),
            store=store,
            out=out,
            opens=opens,
            port=port,
            api_key=api_key,
        )
        if live:
            raise typer.Exit(lazy("agentkit.cli.view").follow(view_options))
        run_command("view", "view", view_options)
