"""`agentkit worker`, `submit` and `runs`: durable runs, which need the extra `durable`."""

import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

import anyio
from pydantic_core import to_jsonable_python
from rich.table import Table

from agentkit.agent.opened import is_agent
from agentkit.cli.exit_codes import ExitCode, print_notice
from agentkit.cli.formatting import format_json
from agentkit.cli.live_view import console_for
from agentkit.cli.run import error_to_dict, exit_code_of_result, result_to_dict, show_output
from agentkit.cli.targets import UNNAMED, AnyAgent, Target, load_agents
from agentkit.core.errors import ConfigurationError
from agentkit.core.messages import Message
from agentkit.core.printable import one_line
from agentkit.durable import RunInfo, Runs, RunState, Served, Submitted, work
from agentkit.durable.recording import Record
from agentkit.durable.runs import recorded

_RATE = re.compile(r"(?P<number>[1-9]\d*)/(?P<seconds>\d+(?:\.\d+)?)")
_STATES = get_args(RunState)
_FILE_WIDTH = 1000  # in a file, the lines of a table are not folded


def worker(  # noqa: PLR0913 (the options of the command)
    targets: Sequence[Target],
    *,
    store: str,
    names: Sequence[str],
    at_once: int,
    global_concurrency: int | None,
    rate: str | None,
    grace: int,
) -> ExitCode:
    """Execute runs until the process is stopped."""
    limit = None if rate is None else _parse_rate(rate)
    loaded = anyio.run(load_agents, targets, names)
    given_names = [*names, *[None] * (len(targets) - len(names))]
    served = [
        Served(
            _named(agent, target, name) if is_agent(agent) else agent,
            at_once=at_once,
            global_concurrency=global_concurrency,
            rate=limit,
            name=None if is_agent(agent) else name or target.short,
        )
        for agent, target, name in zip(loaded, targets, given_names, strict=True)
    ]
    with _open_store(store) as runs:
        print_notice(f"executing runs of {', '.join([entry.queue for entry in served])} in {runs!r}; Ctrl-C stops")
        work(runs, *served, grace=grace)
    return ExitCode.OK


async def submit(  # noqa: PLR0913 (the options of the command)
    target: Target,
    prompt: str,
    *,
    store: str,
    id: str | None,  # noqa: A002 (as in `Runs.submit`)
    name: str | None,
    wait: bool,
    as_json: bool,
) -> ExitCode:
    """Submit a run, and print its id; with `wait`, print its answer or raise its error."""
    async with target.opened() as opened:
        agent = _named(opened, target, name)
        with _open_store(store) as runs:
            handle = await runs.submit(agent, prompt, id=id)
            if wait:
                print_notice(f"submitted {handle.id}; waiting for a worker of {agent.name}")
                return await _wait_for(handle, as_json=as_json)
            info = await handle.info() if as_json else None
            sys.stdout.write(format_json(_info_to_dict(info)) if info else f"{one_line(handle.id)}\n")
    return ExitCode.OK


async def runs(store: str, state: str | None, *, limit: int, as_json: bool) -> ExitCode:
    """List runs, the newest first."""
    if state is not None and state not in _STATES:
        raise ConfigurationError(f"there is no state {state!r}; the states are {', '.join(_STATES)}")
    with _open_store(store, create=False) as opened:
        infos = await opened.list(cast("RunState | None", state), limit=limit + 1)
    infos, more = infos[:limit], infos[limit:]
    if as_json:
        sys.stdout.write(format_json([_info_to_dict(info) for info in infos]))
    elif infos:
        _print_table(infos)
    else:
        print_notice("no runs")
    if more:
        print_notice(f"there are more runs; --limit {10 * limit} lists up to that many")
    return ExitCode.OK


async def read_run(run_id: str, store: str) -> tuple[RunInfo, tuple[Message, ...], tuple[Record, ...]]:
    """Return the state of a run, its prompt, and its records."""
    with _open_store(store, create=False) as opened:
        return await recorded(opened, run_id)


@contextmanager
def _open_store(store: str, *, create: bool = True) -> Generator[Runs]:
    """Open the store of the runs. Errors never show its password."""
    if "://" not in store:
        file = Path(store)
        if not file.absolute().parent.is_dir():
            raise ConfigurationError(f"the folder of the store does not exist: mkdir -p {str(file.parent)!r}")
        if not create and not file.is_file():
            raise ConfigurationError(f"there is no file {store!r}; --store is the file that the worker uses")
    runs = Runs(store)
    try:
        repr(runs)  # parses the address
    except Exception:  # noqa: BLE001 (its text may contain the password)
        raise ConfigurationError("--store is not a valid address; use postgresql://user@host:port/database") from None
    try:
        yield runs
    finally:
        runs.close()


def _named(agent: AnyAgent, target: Target, name: str | None) -> AnyAgent:
    """Return the agent under the name that its worker has: `--name`, its own name, or its target."""
    return agent.with_name(name or (target.short if agent.name == UNNAMED else agent.name))


def _parse_rate(text: str) -> tuple[int, float]:
    match = _RATE.fullmatch(text)
    if match is None or not float(match["seconds"]):
        raise ConfigurationError(f"--rate is N/SECONDS, such as 100/60 for 100 a minute, not {text!r}")
    return int(match["number"]), float(match["seconds"])


async def _wait_for(handle: Submitted[Any], *, as_json: bool) -> ExitCode:
    try:
        result = await handle.result()
    except Exception as error:
        if as_json:
            sys.stdout.write(format_json({"id": handle.id, **error_to_dict(error)}))
        raise
    if as_json:
        sys.stdout.write(format_json({"id": handle.id, **result_to_dict(result)}))
    elif result.stop != "paused":
        show_output(sys.stdout, result.output)
    return exit_code_of_result(result, f"to decide, in Python: await runs.run({handle.id!r}, agent).decide(…)")


def _info_to_dict(info: RunInfo) -> object:
    return to_jsonable_python(asdict(info))


def _print_table(infos: Sequence[RunInfo]) -> None:
    console = console_for(sys.stdout)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("run", "agent", "state", "changed"):
        table.add_column(column, overflow="fold")
    for info in infos:
        changed = info.updated.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(one_line(info.id), one_line(info.agent), info.state, changed)
    console.print(table, width=None if console.is_terminal else _FILE_WIDTH)
