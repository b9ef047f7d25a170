"""`agentkit worker`, `submit` and `runs`: durable runs, which need the extra `durable`."""

import json
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import anyio
from pydantic_core import to_jsonable_python
from rich.table import Table

from agentkit.cli.exit_codes import Code, tell
from agentkit.cli.formatting import line
from agentkit.cli.live_view import console_on
from agentkit.cli.run import data_of, data_of_error, end_of, text_of_output
from agentkit.cli.targets import AnyAgent, Target
from agentkit.core.errors import ConfigurationError
from agentkit.durable import RunInfo, Runs, RunState, Served, Submitted, work

_UNNAMED = "agent"
_RATE = re.compile(r"(?P<number>[1-9]\d*)/(?P<seconds>\d+(?:\.\d+)?)")
_STATES = get_args(RunState)
_WIDEST = 1000  # a line of a table in a file is not folded


@dataclass(frozen=True, slots=True)
class Order:
    """What `agentkit submit` is asked to do.

    Attributes:
        target: For which agent.
        prompt: What the user says.
        place: Where the runs are kept.
        id: The run's id; one is made if there is none.
        name: What the worker calls the agent.
        wait: Whether the answer is waited for.
        as_json: Whether JSON is given.
    """

    target: Target
    prompt: str
    place: str
    id: str | None = None
    name: str | None = None
    wait: bool = False
    as_json: bool = False


def worker(  # noqa: PLR0913 (what there is to say of it)
    targets: Sequence[Target],
    *,
    place: str,
    names: Sequence[str],
    at_once: int,
    everywhere: int | None,
    rate: str | None,
) -> Code:
    """Take runs until the process is told to stop.

    Args:
        targets: Of which agents.
        place: Where the runs are kept.
        names: What the agents are called; the rest by their own names, or those of their targets.
        at_once: How many runs of each are under way here.
        everywhere: How many of each are under way in all workers.
        rate: How many of each begin in how many seconds, `N/SECONDS`.

    Raises:
        ConfigurationError: If there can be no such worker.
    """
    if len(names) > len(targets):
        raise ConfigurationError(f"there are {len(names)} names for {len(targets)} agents: --name once for each")
    limit = None if rate is None else _rate(rate)
    agents = anyio.run(_agents, targets, names)
    served = [Served(each, at_once=at_once, global_concurrency=everywhere, rate=limit) for each in agents]
    with _kept(place) as kept:
        tell(f"takes the runs of {', '.join([each.name for each in agents])} in {kept!r}; Ctrl-C stops it")
        work(kept, *served)
    return Code.OK


async def submit(order: Order) -> Code:
    """Submit a run, and print its id, or wait for its answer.

    Args:
        order: Which run.

    Raises:
        AgentkitError: What ended the run, if it is waited for.
    """
    async with order.target.opened() as opened:
        agent = _named(opened, order.target, order.name)
        with _kept(order.place) as kept:
            handle = await kept.submit(agent, order.prompt, id=order.id)
            if order.wait:
                tell(f"{handle.id} is submitted; a worker of {agent.name} takes it")
                return await _answered(handle, as_json=order.as_json)
            sys.stdout.write(f"{json.dumps(_data(await handle.info())) if order.as_json else line(handle.id)}\n")
    return Code.OK


async def runs(place: str, state: str | None, limit: int, as_json: bool) -> Code:  # noqa: FBT001 (anyio.run gives it so)
    """List the runs.

    Args:
        place: Where they are kept.
        state: Only those in this state.
        limit: How many at most.
        as_json: Whether JSON is given.

    Raises:
        ConfigurationError: If there is no such place or state.
    """
    if state is not None and state not in _STATES:
        raise ConfigurationError(f"there is no state {state!r}; those are: {', '.join(_STATES)}")
    with _kept(place, made=False) as kept:
        found = await kept.list(cast("RunState | None", state), limit=limit + 1)
    found, more = found[:limit], found[limit:]
    if as_json:
        sys.stdout.write(f"{json.dumps([_data(each) for each in found])}\n")
    elif found:
        _show(found)
    else:
        tell("there are none")
    if more:
        tell(f"there are more; --limit {10 * limit} lists up to so many")
    return Code.OK


@contextmanager
def _kept(place: str, *, made: bool = True) -> Generator[Runs]:
    """Give where the runs are kept, made if it may be; what is said of it has no password."""
    if "://" not in place:
        file = Path(place)
        if not file.absolute().parent.is_dir():
            raise ConfigurationError(f"there is no folder {str(file.parent)!r} for the runs; make it first")
        if not made and not file.is_file():
            raise ConfigurationError(f"there is no file {place!r}, which would have the runs")
    kept = Runs(place)
    try:
        repr(kept)  # which reads the address
    except Exception:  # noqa: BLE001 (what it says may have the password)
        raise ConfigurationError(
            "--store is no address that can be read; it is postgresql://user@host:port/database"
        ) from None
    try:
        yield kept
    finally:
        kept.close()


async def _agents(targets: Sequence[Target], names: Sequence[str]) -> list[AnyAgent]:
    """Give the agents. What one has open would be closed before it works, so that is refused."""
    made: list[AnyAgent] = []
    for at, target in enumerate(targets):
        async with target.opened(keep=False) as agent:
            made.append(_named(agent, target, names[at] if at < len(names) else None))
    return made


def _named(agent: AnyAgent, target: Target, name: str | None) -> AnyAgent:
    """Give the agent under the name that says who takes its runs; one without a name has that of its target."""
    return agent.with_name(name or (target.short if agent.name == _UNNAMED else agent.name))


def _rate(text: str) -> tuple[int, float]:
    match = _RATE.fullmatch(text)
    if match is None or not float(match["seconds"]):
        raise ConfigurationError(f"--rate is how many begin in how many seconds, such as 100/60, not {text!r}")
    return int(match["number"]), float(match["seconds"])


async def _answered(handle: Submitted[Any], *, as_json: bool) -> Code:
    """Print the answer of a run when there is one."""
    try:
        result = await handle.result()
    except Exception as error:
        if as_json:
            sys.stdout.write(f"{json.dumps({'id': handle.id, **data_of_error(error)})}\n")
        raise
    if as_json:
        sys.stdout.write(f"{json.dumps({'id': handle.id, **data_of(result)})}\n")
    elif result.stop != "paused":
        sys.stdout.write(f"{text_of_output(result.output)}\n")
    return end_of(result, f"to decide, in a program: await runs.run({handle.id!r}, agent).decide(…)")


def _data(info: RunInfo) -> object:
    return to_jsonable_python(asdict(info))


def _show(infos: Sequence[RunInfo]) -> None:
    console = console_on(sys.stdout)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("run", "agent", "state", "changed"):
        table.add_column(column, overflow="fold")
    for each in infos:
        changed = each.updated.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(line(each.id), line(each.agent), each.state, changed)
    console.print(table, width=None if console.is_terminal else _WIDEST)
