import stat
from pathlib import Path

import anyio
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from agentkit.cli.prompt_input import history_file, open_history, prompt_input


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ("Hello\r", "Hello"),
        ("one\x1b\rtwo\r", "one\ntwo"),
        ("one\\\rtwo\r", "one\ntwo"),
        ("\x1b[200~one\ntwo\x1b[201~\r", "one\ntwo"),
    ],
)
def test_one_line_or_several_are_prompt_input(keys: str, read: str) -> None:
    with create_pipe_input() as given, create_app_session(input=given, output=DummyOutput()):
        given.send_text(keys)
        assert anyio.run(prompt_input("> ", ["/help"], InMemoryHistory())) == read


@pytest.mark.parametrize(("keys", "raised"), [("\x03", KeyboardInterrupt), ("\x04", EOFError)])
def test_ctrl_c_and_ctrl_d_are_told(keys: str, raised: type[BaseException]) -> None:
    with create_pipe_input() as given, create_app_session(input=given, output=DummyOutput()):
        given.send_text(keys)
        with pytest.raises(raised):
            anyio.run(prompt_input("> ", [], InMemoryHistory()))


def test_what_was_typed_is_kept_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = history_file()
    with create_pipe_input() as given, create_app_session(input=given, output=DummyOutput()):
        given.send_text("Hello\r")
        anyio.run(prompt_input("> ", [], open_history(file)))
    assert "+Hello\n" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Hello" in open_history(file).load_history_strings()


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(open_history(tmp_path / "file" / "history"), InMemoryHistory)
