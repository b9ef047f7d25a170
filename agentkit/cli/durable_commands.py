"""The commands for durable runs: what each takes, and what `--help` says of it."""

import sys
from typing import Annotated

import typer

from agentkit.cli.exit_codes import told
from agentkit.cli.options import BaseUrl, Json, Model, ToAgent, Traceback, loaded, target_of

durable_commands = typer.Typer(rich_markup_mode=None)

Store = Annotated[
    str,
    typer.Option(
        metavar="PLACE",
        envvar="AGENTKIT_STORE",
        show_envvar=False,
        help="Where the runs are kept: an SQLite file, or postgresql://user@host/database. "
        "Others on this machine may see it here: with a password better in AGENTKIT_STORE.",
        show_default=False,
    ),
]
_MODULE = "agentkit.cli.durable_runs"


@durable_commands.command(
    short_help="Take the durable runs of agents.",
    epilog="""\b
Examples:
  agentkit worker weather.py --store runs.db
  agentkit worker weather.py shop.py:agent --store postgresql://ann@db/shop --at-once 4
  agentkit worker weather.py --store runs.db --rate 100/60      # 100 begin in a minute, over all workers
""",
)
def worker(  # noqa: PLR0913 (each is an option of the command)
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET", help="Which agents; their runs are taken.", show_default=False)
    ],
    *,
    store: Store,
    at_once: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many runs of each agent are under way here.")
    ] = 16,
    everywhere: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many of each are under way in all workers together.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/SECONDS", help="How many of each begin in how many seconds, over all workers."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What an agent is called; once for each target, in order.")
    ] = None,
    model: Model = None,
    base_url: BaseUrl = None,
    traceback: Traceback = False,
) -> None:
    """Take the durable runs of agents, until SIGTERM or Ctrl-C.

    Runs under way then are taken up by other workers, or by the next one.
    """
    with told(traceback=traceback):
        chosen = [target_of(each, model, base_url) for each in targets]
        worked = loaded(_MODULE).worker
        raise typer.Exit(
            worked(chosen, place=store, names=name or [], at_once=at_once, global_concurrency=everywhere, rate=rate)
        )


@durable_commands.command(
    short_help="Submit a durable run, which a worker takes.",
    epilog="""\b
Examples:
  agentkit submit weather.py "Is it raining in Paris?" --store runs.db
  agentkit submit weather.py "Is it raining in Paris?" --store runs.db --wait
  agentkit submit shop.py "Refund order 1042." --store runs.db --id ticket-77      # made once
""",
)
def submit(  # noqa: PLR0913 (each is an option of the command)
    target: ToAgent,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT", help="What the user says; - or nothing reads it from a pipe.", show_default=False
        ),
    ] = None,
    *,
    store: Store,
    id: Annotated[  # noqa: A002 (the word for it)
        str | None, typer.Option("--id", metavar="ID", help="The run's id; one that is there is not made again.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait, and print the answer.")] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the worker calls the agent.")] = None,
    as_json: Json = False,
    traceback: Traceback = False,
) -> None:
    """Submit a durable run, which a worker takes, and print its id; with --wait its answer.

    Where the command is stopped while it waits, the run goes on.
    """
    with told(traceback=traceback):
        text = loaded("agentkit.cli.run").prompt_of(prompt or [], sys.stdin, goes_on=False, command="submit")
        given = loaded(_MODULE).Order(
            target_of(target), text, place=store, id=id, name=name, wait=wait, as_json=as_json
        )
        raise typer.Exit(loaded("anyio").run(loaded(_MODULE).submit, given))


@durable_commands.command(
    short_help="List durable runs, and where they are.",
    epilog="""\b
Examples:
  agentkit runs --store runs.db
  agentkit runs waiting --store runs.db
  agentkit runs failed --store runs.db --json | jq -r '.[].id'
""",
)
def runs(
    state: Annotated[
        str | None,
        typer.Argument(
            metavar="STATE",
            help="Only these: queued, running, waiting, done, failed or cancelled.",
            show_default=False,
        ),
    ] = None,
    *,
    store: Store,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many are listed at most.")] = 100,
    as_json: Json = False,
    traceback: Traceback = False,
) -> None:
    """List durable runs, the newest first, and where they are."""
    with told(traceback=traceback):
        raise typer.Exit(loaded("anyio").run(loaded(_MODULE).runs, store, state, limit, as_json))
