"""Figures of runs."""

import json
from xml.etree import ElementTree as ET

import pytest

from agentkit.evals import Rate, Report, Row, side_by_side
from agentkit.evals.cases import Marks

GOOD = Marks(True, True, True, True, ())
BAD = Marks(True, False, True, True, ("no call look(city='Paris')",))
ROWS = (
    Row("a", 0, ("x",), GOOD, requests=2, tokens=100, cost=0.5, seconds=1.0),
    Row("a", 1, ("x",), BAD, requests=4, tokens=300, cost=None, seconds=2.0),
    Row("b\x1b", 0, ("x", "y"), GOOD, failure="ModelTimeout"),
)
REPORT = Report("mine", ROWS)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1)]
)
def test_intervals(hits: int, of: int, low: float, high: float) -> None:
    assert Rate(hits, of).interval == pytest.approx((low, high), abs=0.001)


def test_rates_and_parts() -> None:
    assert (REPORT.rate(), REPORT.rate(lambda row: row.marks.right_arguments)) == (Rate(1, 3), Rate(2, 3))
    assert [part.name for part in REPORT.parts] == ["a", "b\x1b", "x", "y"]
    assert (REPORT.of_tag("y").rate(), REPORT.of_case("a").rate()) == (Rate(0, 1), Rate(1, 2))
    assert REPORT.figures() == {
        "passed": "1/3 (6% to 79%)", "right tool": "3", "arguments": "2", "answered": "3", "requests": "2.0",
        "tokens": "200", "cost": "0.5", "seconds": "1.50",
    }  # fmt: skip
    assert Report("none", ()).figures()["tokens"] == "-"


def test_tables() -> None:
    lines = str(REPORT).splitlines()
    assert len({line.index("right tool") for line in lines[:1]}) == 1
    assert lines[-2:] == ["a: no call look(city='Paris')", "b\x1b: ModelTimeout"]
    assert len(side_by_side(REPORT, REPORT).splitlines()) == 3
    assert "\n\n" not in str(Report("fine", ROWS[:1]))


def test_json_and_junit() -> None:
    data = json.loads(REPORT.to_json())
    assert (data["name"], data["passed"], data["runs"], len(data["rows"])) == ("mine", 1, 3, 3)
    assert data["rows"][1]["problems"] == ["no call look(city='Paris')"]
    suite = ET.fromstring(REPORT.to_junit())  # noqa: S314 (its own)
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    assert [case.find("failure") is not None for case in suite] == [False, True, True]
