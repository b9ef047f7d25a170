import io
import os
import runpy
import sys
from pathlib import Path
from threading import Event, Thread, main_thread

import pytest

from agentkit import MissingExtra, __main__, cli
from tests.cli.commands import process


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread that another test has left: with one, the process would be ended."""
    monkeypatch.setattr(__main__, "threads", lambda: [main_thread()])


@pytest.mark.usefixtures("alone")
def test_the_command_line_begins_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["agentkit", "--version"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("agentkit ")


def test_without_the_extra_a_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_: str) -> None:
        raise MissingExtra("the command line needs the extra `cli`")

    monkeypatch.setattr(__main__, "import_module", missing)
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "agentkit: the command line needs the extra `cli`\n")


def test_what_is_missing_is_told_as_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agentkit.cli.app", None)
    with pytest.raises(MissingExtra, match="the extra `cli`: pip install"):
        runpy.run_path(str(Path(cli.__file__)))


def test_a_machine_without_the_extra_is_told_so() -> None:
    hidden = "import sys; sys.modules['typer'] = None; import runpy; runpy.run_module('agentkit', run_name='__main__')"
    done = process(program=["-c", hidden])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("agentkit: the command line needs the extra `cli`: pip install 'typer>=")
    assert done.stderr.count("\n") == 1


def test_help_and_completion_load_no_more_than_they_need() -> None:
    told = "import sys\nfrom agentkit import __main__\ntry:\n    __main__.main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    loaded = process("--help", program=["-c", told]).stderr.split()
    assert "agentkit.cli.app" in loaded
    assert not {"agentkit.cli.targets", "agentkit.server", "dbos", "prompt_toolkit"} & set(loaded)


@pytest.mark.usefixtures("alone")
def test_what_a_terminal_cannot_show_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    monkeypatch.setattr(sys, "argv", ["agentkit", "--version"])
    with pytest.raises(SystemExit):
        __main__.main()
    narrow.write("→")
    narrow.flush()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit):
        __main__.main()


def test_a_thread_that_goes_on_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    done = Event()
    thread = Thread(target=done.wait)
    thread.start()
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(sys, "argv", ["agentkit", "--version"])
    with pytest.raises(SystemExit):
        __main__.main()
    done.set()
    thread.join()
    assert left == [0]
