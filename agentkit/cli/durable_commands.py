"""The commands for durable runs: their options and help."""

import sys
from typing import Annotated

import typer

from agentkit.cli import options
from agentkit.cli.exit_codes import exit_on_error
from agentkit.cli.options import lazy, run_command, target_of, targets_of

durable_commands = typer.Typer(rich_markup_mode=None)

Store = Annotated[
    str,
    typer.Option(
        metavar="STORE",
        envvar="AGENTKIT_STORE",
        help="Where runs are stored: an SQLite file, or postgresql://user@host/database. Command lines are visible "
        "to others on this machine: if the address has a password, set AGENTKIT_STORE instead.",
        show_default=False,
    ),
]


@durable_commands.command(
    epilog="""\b
Examples:
  agentkit worker weather.py --store runs.db
  agentkit worker weather.py shop.py:agent --store postgresql://ann@db/shop
  agentkit worker weather.py --store runs.db --rate 100/60   # 100 starts a minute
""",
)
def worker(  # noqa: PLR0913 (the options of the command)
    targets: options.Targets,
    *,
    store: Store,
    at_once: Annotated[int, typer.Option(metavar="N", min=1, help="Concurrent runs of each agent here.")] = 16,
    global_concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Concurrent runs of each agent in all workers.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/SECONDS", help="Runs of each agent that all workers together start, such as 100/60."),
    ] = None,
    grace: Annotated[
        int, typer.Option(metavar="SECONDS", min=0, help="How long runs may go on after SIGTERM or Ctrl-C.")
    ] = 0,
    name: options.Names = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    traceback: options.Traceback = False,
) -> None:
    """Execute durable runs of agents, until Ctrl-C or SIGTERM.

    Other workers, or the next one, resume the runs that were in progress.
    """
    with exit_on_error(traceback=traceback):
        raise typer.Exit(
            lazy("agentkit.cli.durable_runs").worker(
                targets_of(targets, model, base_url),
                store=store,
                names=name or [],
                at_once=at_once,
                global_concurrency=global_concurrency,
                rate=rate,
                grace=grace,
            )
        )


@durable_commands.command(
    epilog="""\b
Examples:
  agentkit submit weather.py "Is it raining in Paris?" --store runs.db
  agentkit submit weather.py "Is it raining in Paris?" --store runs.db --wait
  agentkit submit shop.py "Refund order 1042." --store runs.db --id ticket-77
""",
)
def submit(  # noqa: PLR0913 (the options of the command)
    target: options.TargetArgument,
    prompt: options.Prompt = None,
    *,
    store: Store,
    id: Annotated[  # noqa: A002 (the option's name)
        str | None, typer.Option("--id", metavar="ID", help="The run's id; a run with a known id is not made again.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait, and print the answer.")] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The agent's name in the worker.")] = None,
    as_json: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Submit a durable run for a worker.

    It prints the id of the run; with --wait, its answer. If you stop the command while it waits, the run goes on.
    """
    with exit_on_error(traceback=traceback):
        text = lazy("agentkit.cli.run").read_prompt(prompt or [], sys.stdin, optional=False, command="submit")
        submitted = {"store": store, "id": id, "name": name, "wait": wait, "as_json": as_json}
        run_command("durable_runs", "submit", target_of(target), text, **submitted)


@durable_commands.command(
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
            help="List only queued, running, waiting, done, failed or cancelled runs.",
            show_default=False,
        ),
    ] = None,
    *,
    store: Store,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="List at most N runs.")] = 100,
    as_json: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """List durable runs and their states, the newest first."""
    with exit_on_error(traceback=traceback):
        run_command("durable_runs", "runs", store, state, limit=limit, as_json=as_json)
