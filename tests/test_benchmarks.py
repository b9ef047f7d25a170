"""The benchmarks run, in sizes in which nothing is learnt of speed."""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

HERE = Path(__file__).parent.parent / "benchmarks"
FILES = ("functions", "measures", "peers", "report", "run", "server")
STARTS_PROGRAMS = ("import", "first")


@pytest.fixture(scope="module")
def files() -> Iterator[dict[str, Any]]:
    """The scripts, which name each other as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(HERE), *sys.path])
        yield {name: importlib.import_module(name) for name in FILES}
        for name in [each for each in sys.modules if each.partition(".")[0] in FILES]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def address(files: dict[str, Any]) -> Iterator[str]:
    with files["run"].endpoint() as found:
        yield found


@pytest.mark.parametrize("name", ["agentkit", "httpx", "httpx2", "asyncio"])
def test_every_measure_of_every_loop_comes_to_numbers(files: dict[str, Any], address: str, name: str) -> None:
    measures = files["measures"]

    async def measured() -> dict[str, Any]:
        peer = files["peers"].load(name)
        peer.open(address)
        peer.base_url = address
        kinds = {key: each for key, each in measures.MEASURES.items() if key not in STARTS_PROGRAMS}
        found = {key: await each.measure(peer, measures.TINY) for key, each in kinds.items()}
        await peer.close()
        return found

    found = asyncio.run(measured())
    assert all(numbers["main"] >= 0 for numbers in found.values())
    table = files["report"].tables({key: {name: numbers} for key, numbers in found.items()})
    assert len(table.splitlines()) == len(found) + 2
    assert ET.fromstring(files["report"].plot({name: found["growth"]})).tag.endswith("svg")  # noqa: S314 (our own)


def test_a_run_that_came_to_something_else_has_no_number(files: dict[str, Any], address: str) -> None:
    measures = files["measures"]

    async def measured() -> None:
        peer = files["peers"].load("agentkit")
        peer.open(address)
        await measures.loop(peer, measures.looping(peer, 2), 3)

    with pytest.raises(measures.WrongResult, match="the answer was 'done 2'"):
        asyncio.run(measured())


def test_what_was_measured_stands_in_the_page_and_the_rest_of_it_stays(files: dict[str, Any]) -> None:
    report = files["report"]
    page = files["run"].PAGE.read_text()
    row = {"agentkit": {"main": 50.0}, "httpx": {"main": 100.0}, "agno": {"main": 600.0}}
    written = report.rewritten(page, {"turn": row}, {"agno": "1.2"})
    assert "| a turn, of 50 | µs CPU | ≤ 0.85 × httpx | 50.0 (0.50 ×) | 100 |" in written  # noqa: RUF001 (a ratio)
    assert "| a turn, of 50 | µs CPU | 50.0 | 600 (12.0 ×) |" in written  # noqa: RUF001 (a ratio)
    assert ", agno 1.2." in written
    assert written.partition(report.BEGIN)[0] == page.partition(report.BEGIN)[0]
    assert written.partition(report.END)[2] == page.partition(report.END)[2]
    assert report.rewritten(written, {"turn": row}, {"agno": "1.2"}) == written
    assert "agno" not in report.tables({"turn": {"agentkit": {"main": 50.0}}})


def test_the_command_measures_in_processes_of_their_own(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    given = ["--tiny", "--rounds=1", "--measures=turn", "--peers=agentkit", f"--json={numbers}"]
    ran = subprocess.run(  # noqa: S603 (our own file)
        [sys.executable, str(HERE / "run.py"), *given], capture_output=True, text=True, check=True
    )
    assert "| a turn, of 50 |" in ran.stdout
    assert '"agentkit"' in numbers.read_text()
    again = subprocess.run(  # noqa: S603 (our own file)
        [sys.executable, str(HERE / "run.py"), "--tiny", "--measures=agents", "--peers=agentkit", f"--onto={numbers}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "| a turn, of 50 |" in again.stdout
    assert "| another agent with 10 tools |" in again.stdout
