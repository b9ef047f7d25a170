"""`agentkit eval`: run cases, and report how often the agent did what is expected."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import anyio

from agentkit.cli.exit_codes import ExitCode
from agentkit.cli.targets import Target, value_at
from agentkit.core.errors import ConfigurationError
from agentkit.core.printable import LINES, printable
from agentkit.evals import Case, evaluate


async def evaluate_cases(  # noqa: PLR0913 (the options of the command)
    target: Target,
    *,
    cases: str | None,
    tags: Sequence[str],
    repeats: int,
    require: float,
    journal: Path | None,
    as_json: bool,
    junit: Path | None,
) -> ExitCode:
    """Run cases and print the report."""
    chosen = [case for case in _cases_of(cases or target.place) if not tags or {*tags} & {*case.tags}]
    async with target.opened() as agent:
        report = await evaluate(agent, chosen, repeats=repeats, journal=journal)
    if junit is not None:
        await anyio.Path(junit).write_text(report.to_junit(), encoding="utf-8")
    sys.stdout.write(f"{printable(report.to_json() if as_json else str(report), LINES)}\n")
    return ExitCode.OK if report.rate().value >= require else ExitCode.FAILED


def _cases_of(text: str) -> list[Case]:
    """Return the cases that a text names, as `file.py:name`; without a name they are in the variable `cases`."""
    found = value_at(text, "cases", "; make one: cases = [Case(…)], or name its file: --cases FILE")
    listed = list(cast("Sequence[object]", found)) if isinstance(found, list | tuple) else []
    cases = [case for case in listed if isinstance(case, Case)]
    if not cases or len(cases) < len(listed):
        raise ConfigurationError(f"{text}: the cases must be a list of agentkit.evals.Case")
    return cases
