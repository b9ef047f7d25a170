"""Evaluate agents: cases with the calls and answers that are expected, run several times, and a report.

`cases` says what is expected and checks a result, `evaluation` runs the cases, `report` counts, and prints tables.

May import `agent`, `sessions` and every room below them. A new check of a result goes to `cases`, a new figure to
`report`.
"""

from agentkit.evals.cases import Case, ExpectedCall, Judge, expect
from agentkit.evals.evaluation import evaluate
from agentkit.evals.report import Rate, Report, Row, side_by_side

__all__ = ["Case", "ExpectedCall", "Judge", "Rate", "Report", "Row", "evaluate", "expect", "side_by_side"]
