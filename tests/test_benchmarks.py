"""The benchmarks run, in sizes that are too small to measure speed."""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from agentkit.core.chat import ToolSpec
from agentkit.core.errors import ModelError
from agentkit.core.messages import ToolCall

HERE = Path(__file__).parent.parent / "benchmarks"
FILES = ("functions", "kernel", "local_policies", "measures", "peers", "report", "run", "server", "small_models")
STARTS_PROGRAMS = ("import", "first")


@pytest.fixture(scope="module")
def files() -> Iterator[dict[str, Any]]:
    """The scripts, which import each other by their plain names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(HERE), *sys.path])
        yield {name: importlib.import_module(name) for name in FILES}
        for name in [module for module in sys.modules if module.partition(".")[0] in FILES]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def address(files: dict[str, Any]) -> Iterator[str]:
    with files["run"].endpoint() as url:
        yield url


@pytest.mark.parametrize("name", ["agentkit", "httpx", "httpx2", "asyncio"])
def test_every_measure_returns_numbers(files: dict[str, Any], address: str, name: str) -> None:
    measures = files["measures"]

    async def measured() -> dict[str, Any]:
        peer = files["peers"].load(name)
        peer.open(address)
        peer.base_url = address
        chosen = {key: measure for key, measure in measures.MEASURES.items() if key not in STARTS_PROGRAMS}
        results = {key: await measure.measure(peer, measures.TINY) for key, measure in chosen.items()}
        await peer.close()
        return results

    results = asyncio.run(measured())
    assert all(numbers["main"] >= 0 for numbers in results.values())
    table = files["report"].tables({key: [{name: numbers}] for key, numbers in results.items()})
    assert len(table.splitlines()) == len(results) + 2
    assert ET.fromstring(files["report"].plot({name: results["growth"]})).tag.endswith("svg")  # noqa: S314 (our own)


def test_the_growth_of_a_run_is_measured(files: dict[str, Any]) -> None:
    kernel = files["kernel"]
    rows = [kernel.grown(work, [4, 5], 1) for work, _ in kernel.WORKS.values()]
    assert all(" at 4, " in row for row in rows)


def test_a_wrong_result_is_not_measured(files: dict[str, Any], address: str) -> None:
    measures = files["measures"]

    async def measured() -> None:
        peer = files["peers"].load("agentkit")
        peer.open(address)
        await measures.loop(peer, measures.looping(peer, 2), 3)

    with pytest.raises(measures.WrongResult, match="done 2"):
        asyncio.run(measured())


def test_the_numbers_replace_only_their_part_of_the_page(files: dict[str, Any]) -> None:
    report = files["report"]
    page = files["run"].PAGE.read_text()
    found = {"turn": [{"agentkit": {"main": 50.0}, "asyncio": {"main": 100.0}, "agno": {"main": 600.0}}]}
    written = report.rewritten(page, found, {"agno": "1.2"})
    assert "| a turn, of 50 | µs CPU | 0.50 ≤ 6.5 × asyncio<br>≤ 0.45 × httpx+sniffio | 50.0 | 100 |" in written  # noqa: RUF001 (a ratio)
    assert "| a turn, of 50 | µs CPU | 50.0 | 600 (12.0 ×) |" in written  # noqa: RUF001 (a ratio)
    assert ", agno 1.2." in written
    assert written.partition(report.BEGIN)[0] == page.partition(report.BEGIN)[0]
    assert written.partition(report.END)[2] == page.partition(report.END)[2]
    assert report.rewritten(written, found, {"agno": "1.2"}) == written
    assert "agno" not in report.tables({"turn": [{"agentkit": {"main": 50.0}}]})
    assert len({*report.COLOURS}) > len(files["peers"].CLEAN)  # each line of the plot has its own


def test_medians_of_numbers_and_of_ratios_within_rounds(files: dict[str, Any]) -> None:
    report = files["report"]
    rounds = [
        {"agentkit": {"main": ours, "at 400": 10.0, "at 10000": long}, "asyncio": {"main": theirs}}
        for ours, theirs, long in ((7.0, 1.0, 11.0), (16.0, 2.0, 40.0), (90.0, 30.0, 12.0))
    ]
    assert report.medians(rounds) == {
        "agentkit": {"main": 16.0, "at 400": 10.0, "at 10000": 12.0},
        "asyncio": {"main": 2.0},
    }
    assert report.medians([{}, *rounds]) == report.medians(rounds)
    beside, within = report.BUDGETS["growth"]
    assert (beside.value(rounds), within.value(rounds)) == (7.0, 1.2)
    assert report.exceeded({"growth": rounds}) == []
    assert report.exceeded({"growth": rounds[1:2]}) == [
        "growth: 8.00 > 7 × asyncio",  # noqa: RUF001 (a ratio)
        "growth: at 10000: 4.00 > 1.5 × at 400",  # noqa: RUF001 (a ratio)
    ]
    assert report.exceeded({"threads": []}) == ["threads: ≤ 65, not measured"]
    others = [
        row | {"agno": {"main": row["agentkit"]["main"] * times}}
        for row, times in zip(rounds, (9, 11, 12), strict=True)
    ]
    assert report.exceeded({"growth": others}) == []
    assert report.exceeded({"growth": others[:1]}) == ["growth: 0.11 > 0.1 × agno"]  # noqa: RUF001 (a ratio)


def test_the_command_measures_in_processes(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"

    def run(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, str(HERE / "run.py"), "--tiny", "--peers=agentkit", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own file)
        assert done.returncode == code, done.stderr
        return done.stdout

    assert "| a turn, of 50 |" in run("--rounds=1", "--measures=turn", f"--json={numbers}")
    assert '"agentkit"' in numbers.read_text()
    added = run("--measures=agents", f"--onto={numbers}")
    assert "| a turn, of 50 |" in added
    assert "| another agent with 10 tools |" in added
    assert "| a turn, of 50 |" in run("--measures=turn", "--check", code=1)  # the loops of its budgets are missing


def test_calls_are_compared_as_the_public_benchmark_does(files: dict[str, Any]) -> None:
    small = files["small_models"]
    accepted = {"side": [5], "unit": ["square meters", ""], "at": [{"x": [1, 2], "y": [""]}], "all": [[{"n": ["A"]}]]}
    right = {"side": 5.0, "unit": "Square-Meters", "at": {"x": 2}, "all": [{"n": "a"}]}
    assert small.arguments_fit(right, accepted)
    assert small.arguments_fit({name: value for name, value in right.items() if name != "unit"}, accepted)
    wrongs: list[dict[str, Any]] = [{"side": 6}, {"unit": "feet"}, {"at": {"x": 3}}, {"all": []}, {"more": 1}]
    for wrong in wrongs:
        assert not small.arguments_fit(right | wrong, accepted)
    given = {"type": "dict", "properties": {"a": {"type": "float", "optional": True}, "b": {"type": "any"}}}
    assert small.schema_of(given) == {"type": "object", "properties": {"a": {"type": "number"}, "b": {}}}


def test_what_came_of_each_prompt_is_counted(files: dict[str, Any]) -> None:
    small = files["small_models"]
    tool = ToolSpec("add", "Add.", {})
    one = small.Task("1 and 2?", (tool,), "add", {"a": [1]})
    many = small.Task("1 and 2?", (tool, replace(tool, name="less")), "add", {"a": [1]})

    def came(call: ToolCall | Exception | None) -> Any:
        async def way(_: object) -> ToolCall | None:
            if isinstance(call, Exception):
                raise call
            return call

        return asyncio.run(small.outcome_of(way, many))

    right, wrong = ToolCall("c", "add", '{"a":1}'), ToolCall("c", "add", '{"a":2}')
    calls = [right, wrong, replace(wrong, arguments="{"), replace(right, name="less"), replace(right, name="sum"), None]
    outcomes = [came(call) for call in [*calls, ModelError("no")]]
    assert outcomes == [*["exact", "right tool", "right tool", "wrong tool", "not offered", "no call"], "ModelError"]
    assert small.row_of("Prompted", "tune", outcomes, [one] * 3 + [many] * 4).split("|")[1:-1] == [
        *[" Prompted ", " `tune` ", " 5 ", " 3 ", " 1 (14 %) ", " 1 of 3 ", " 0 of 4 ", " 1 ", " 1 ModelError "]
    ]


def test_the_soak_counts_what_may_never_happen() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "0.01"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)  # noqa: S603 (our own file)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| ")]
    counts = {name.strip(): numbers for _, name, *numbers, _ in rows if len(numbers) == 2}
    assert all(int(number) > 0 for number in counts["runs"])
    assert [int(number) for fault in ("hangs", "foreign exceptions", "paid twice") for number in counts[fault]] == [
        0
    ] * 6


def test_a_batch_that_is_killed_loses_nothing_and_asks_little_twice() -> None:
    command = [sys.executable, str(HERE / "many_inputs.py"), "300"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (our own file)
    counts = [line.split(";") for line in done.stdout.splitlines() if "asked twice" in line]
    assert [(kept.strip(), lost.strip()) for _, kept, lost in counts] == [("kept twice: 0", "lost: 0")] * 2


def test_hostile_input_has_a_process_of_its_own() -> None:
    command = [sys.executable, str(HERE / "hostile.py"), "reference-to-itself"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own file)
    assert "ToolDefinitionError" in done.stdout, done.stderr
