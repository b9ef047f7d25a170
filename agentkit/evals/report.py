"""Reports: how often the runs of each case and tag did what is expected."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple, TypeAlias
from xml.etree import ElementTree as ET

from agentkit.core.printable import printable
from agentkit.evals.cases import Marks

Counted: TypeAlias = "Callable[[Row], bool]"

_Z = 1.96  # of a normal distribution, for 95 %
_COLUMNS = ("passed", "right tool", "arguments", "answered", "requests", "tokens", "cost", "seconds")


class Rate(NamedTuple):
    """How many of the runs did something, with the 95 % interval of the rate by Wilson's formula.

    Source: https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval.
    """

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The rate, 0 to 1."""
        return self.hits / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The lowest and the highest rate that fit."""
        if not self.of:
            return 0.0, 1.0
        square, rate = _Z * _Z / self.of, self.value
        middle = (rate + square / 2) / (1 + square)
        half = _Z * sqrt(rate * (1 - rate) / self.of + square / (4 * self.of)) / (1 + square)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.hits}/{self.of} ({low:.0%} to {high:.0%})"


@dataclass(frozen=True, slots=True)
class Row:
    """One run of one case.

    Attributes:
        case: The name of the case.
        number: Which of its runs; the first is 0.
        tags: The tags of the case.
        marks: What was right, and the problems.
        failure: The kind of the error that ended the run; `None` if it has a result.
        requests: How many requests it made.
        tokens: The tokens that it used; `None` if the endpoint did not count them.
        cost: What it cost; `None` if that is not known.
        seconds: How long it took; `None` if it comes from a journal.
    """

    case: str
    number: int
    tags: tuple[str, ...]
    marks: Marks
    failure: str | None = None
    requests: int = 0
    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return self.failure is None and not self.marks.problems

    def to_dict(self) -> dict[str, object]:
        """Return the run as plain data."""
        return {
            "case": self.case,
            "number": self.number,
            "tags": list(self.tags),
            "passed": self.passed,
            **{name: value for name, value in self.marks._asdict().items() if name != "problems"},
            "problems": list(self.marks.problems),
            "failure": self.failure,
            "requests": self.requests,
            "tokens": self.tokens,
            "cost": self.cost,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What the runs of all cases did. `print(report)` shows a table.

    Attributes:
        name: The name of the agent, the model or the policy.
        rows: The runs, case by case.
    """

    name: str
    rows: tuple[Row, ...]

    def rate(self, counted: Counted = lambda row: row.passed) -> Rate:
        """Return how many of the runs passed, or did what a function says."""
        return Rate(sum(counted(row) for row in self.rows), len(self.rows))

    def of_case(self, name: str) -> "Report":
        """Return the report on one case."""
        return Report(name, tuple([row for row in self.rows if row.case == name]))

    def of_tag(self, tag: str) -> "Report":
        """Return the report on the cases with a tag."""
        return Report(tag, tuple([row for row in self.rows if tag in row.tags]))

    @property
    def parts(self) -> tuple["Report", ...]:
        """The reports on each case, and then on each tag."""
        tags = dict.fromkeys([tag for row in self.rows for tag in row.tags])
        cases = dict.fromkeys([row.case for row in self.rows])
        return (*map(self.of_case, cases), *[self.of_tag(tag) for tag in tags])

    def figures(self) -> dict[str, str]:
        """Return the figures of all runs together, as text, by the names of the table's columns."""
        values = (
            str(self.rate()),
            str(self.rate(lambda row: row.marks.right_tool).hits),
            str(self.rate(lambda row: row.marks.right_arguments).hits),
            str(self.rate(lambda row: row.marks.answered).hits),
            f"{_mean([row.requests for row in self.rows]):.1f}",
            _shown([row.tokens for row in self.rows], ".0f"),
            _shown([row.cost for row in self.rows], ".4g"),
            _shown([row.seconds for row in self.rows], ".2f"),
        )
        return dict(zip(_COLUMNS, values, strict=True))

    def __str__(self) -> str:
        total = Report(f"all of {self.name}", self.rows)
        lines = _table([*self.parts, total])
        problems = [f"{row.case}: {problem}" for row in self.rows for problem in _problems(row)]
        return "\n".join([*lines, *(["", *dict.fromkeys(problems)] if problems else [])])

    def to_dict(self) -> dict[str, object]:
        """Return the report as plain data."""
        passed = self.rate()
        return {
            "name": self.name,
            "passed": passed.hits,
            "runs": passed.of,
            "interval": list(passed.interval),
            "rows": [row.to_dict() for row in self.rows],
        }

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_junit(self) -> str:
        """Return the report as JUnit's XML, for CI."""
        failed = len(self.rows) - self.rate().hits
        suite = ET.Element("testsuite", name=printable(self.name), tests=str(len(self.rows)), failures=str(failed))
        for row in self.rows:
            attributes = {
                "classname": printable(self.name),
                "name": printable(f"{row.case} {row.number}"),
                "time": f"{row.seconds or 0:.3f}",
            }
            case = ET.SubElement(suite, "testcase", attributes)
            if not row.passed:
                problems = _problems(row)
                ET.SubElement(case, "failure", message=problems[0]).text = "\n".join(problems)
        return ET.tostring(suite, encoding="unicode")


def side_by_side(*reports: Report) -> str:
    """Return a table of several agents, models or policies.

    >>> print(side_by_side(await evaluate(one, cases), await evaluate(other, cases)))
    """
    return "\n".join(_table(reports))


def _problems(row: Row) -> list[str]:
    return [*([] if row.failure is None else [row.failure]), *row.marks.problems]


def _table(reports: Sequence[Report]) -> list[str]:
    lines = [["", *_COLUMNS], *[[report.name, *report.figures().values()] for report in reports]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join([_aligned(at, cell, widths[at]) for at, cell in enumerate(line)]).rstrip() for line in lines]


def _aligned(at: int, cell: str, width: int) -> str:
    return cell.ljust(width) if at == 0 else cell.rjust(width)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _shown(values: Iterable[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return f"{_mean(known):{form}}" if known else "-"
