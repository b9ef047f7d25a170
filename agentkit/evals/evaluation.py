"""Running cases."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from agentkit.agent.agent import Agent
from agentkit.core.checks import check_number
from agentkit.core.errors import ConfigurationError
from agentkit.evals.cases import Case
from agentkit.evals.report import Report, Row
from agentkit.runs.batch.batch import Input, MapOptions
from agentkit.runs.batch.outcomes import Mapped
from agentkit.runs.options import OwnOptions
from agentkit.sessions.sqlite import Sqlite
from agentkit.tools.approval import Approver


async def evaluate(  # noqa: PLR0913 (all but two are keywords that most callers leave out)
    agent: Agent[Any, Any],
    cases: Iterable[Case],
    *,
    repeats: int = 1,
    concurrency: int = 8,
    journal: str | os.PathLike[str] | None = None,
    approver: Approver | None = None,
    progress: bool | None = None,
    options: OwnOptions | None = None,
    name: str = "",
) -> Report:
    """Run each case, and report how often the agent did what is expected.

    Args:
        agent: The agent.
        cases: The cases; each needs a name of its own.
        repeats: How many times each case is run.
        concurrency: How many runs go on at once.
        journal: A file that stores the outcomes, with the conversations beside it in `FILE.db`. The same call again
            resumes where it stopped.
        approver: Decides on calls that need approval.
        progress: Whether to show the progress on stderr; by default, if that is a terminal.
        options: What these runs have in place of the agent's own: `model`, `tool_choice`, `settings`, `limits`.
        name: The name of the report; by default that of the model.

    Raises:
        ConfigurationError: If there are no cases, or two have one name.

    Example:
        >>> print(await evaluate(agent, cases, repeats=5))
    """
    check_number("repeats", repeats, least=1, whole=True)
    known = _by_name(cases)
    runs = [(case, number) for case in known.values() for number in range(repeats)]
    inputs = [Input(case.prompt, case.deps, key=f"{case.name} {number}") for case, number in runs]
    store = None if journal is None else Sqlite(f"{os.fspath(journal)}.db")
    own: OwnOptions = options or {}
    settings: MapOptions[Any] = {
        "model": own.get("model"),
        "tool_choice": own.get("tool_choice"),
        "settings": own.get("settings"),
        "limits": own.get("limits"),
        "concurrency": concurrency,
        "journal": journal,
        "approver": approver,
        "progress": progress,
        "session": None if store is None else store.conversation,
    }
    batch = agent.map(inputs, **settings)
    rows: dict[int, Row] = {}
    async with batch:
        async for mapped in batch:
            case, number = runs[mapped.index]
            rows[mapped.index] = await _row(case, number, mapped, store)
    if (stopped := batch.summary.stopped) is not None:
        raise stopped
    model = own.get("model")
    shown = model if isinstance(model, str) else (agent.plan.model if model is None else model).name
    return Report(name or shown, tuple([rows[index] for index in sorted(rows)]))


def _by_name(cases: Iterable[Case]) -> Mapping[str, Case]:
    known: dict[str, Case] = {}
    for case in cases:
        if known.setdefault(case.name, case) is not case:
            raise ConfigurationError(f"two cases have the name {case.name!r}; give one another: Case(…, name=…)")
    if not known:
        raise ConfigurationError("there are no cases to run")
    return known


async def _row(case: Case, number: int, mapped: Mapped[Any], store: Sqlite | None) -> Row:
    result = mapped.result
    if result is not None and mapped.stored and store is not None:  # the journal has no messages, the store has
        stored = await store.conversation(mapped.key).load()
        result = type(result)(result.output, stored.messages, (), result.usage, result.stop)
    marks = await case.check(result)
    usage = None if result is None else result.usage
    return Row(
        case.name,
        number,
        tuple(case.tags),
        marks,
        failure=mapped.failure,
        requests=0 if usage is None else usage.requests,
        tokens=None if usage is None else usage.total_tokens,
        cost=None if usage is None else usage.cost,
        seconds=mapped.seconds,
    )
