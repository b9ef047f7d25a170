import io
import os
import runpy
import sys
from pathlib import Path
from threading import Event, Thread, main_thread

import pytest

from agentkit import __main__, cli
from tests.cli.commands import process


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread that another test has left: with one, the process would be ended."""
    monkeypatch.setattr(__main__, "threads", lambda: [main_thread()])


def main_with(words: str, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["agentkit", *words.split()])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    return end.value.code


@pytest.mark.usefixtures("alone")
def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_with("--version", monkeypatch) == 0
    assert capsys.readouterr().out.startswith("agentkit ")


def test_without_the_extra_a_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "agentkit.cli.app", None)

    def import_again(_: str) -> object:
        return runpy.run_path(str(Path(cli.__file__)))

    monkeypatch.setattr(__main__, "import_module", import_again)
    assert main_with("--version", monkeypatch) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("agentkit: the command line needs the extra `cli`: pip install 'typer>=")


def test_help_loads_no_more_than_it_needs() -> None:
    program = "import sys\nfrom agentkit import __main__\ntry:\n    __main__.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    loaded = process("--help", program=["-c", program]).stderr.split()
    assert "agentkit.cli.app" in loaded
    assert not {"agentkit.cli.targets", "agentkit.server", "dbos", "prompt_toolkit"} & set(loaded)


@pytest.mark.usefixtures("alone")
def test_characters_that_a_terminal_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    main_with("--version", monkeypatch)
    narrow.write("→")
    narrow.flush()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    main_with("--version", monkeypatch)


def test_a_thread_that_still_runs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    done = Event()
    thread = Thread(target=done.wait)
    thread.start()
    monkeypatch.setattr(os, "_exit", codes.append)
    main_with("--version", monkeypatch)
    done.set()
    thread.join()
    assert codes == [0]
