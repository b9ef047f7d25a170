import stat
from pathlib import Path

import anyio
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from agentkit.cli.prompt_input import open_history, prompt_input


def typed(keys: str, history: History) -> str:
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        return anyio.run(prompt_input("> ", ["/help"], history))


@pytest.mark.parametrize(("keys", "prompt"), [
    ("Hello\r", "Hello"), ("one\x1b\rtwo\r", "one\ntwo"), ("one\\\rtwo\r", "one\ntwo"),
    ("\x1b[200~one\ntwo\x1b[201~\r", "one\ntwo"), ("\x03", KeyboardInterrupt), ("\x04", EOFError),
])  # fmt: skip
def test_keys(keys: str, prompt: str | type[BaseException]) -> None:
    if isinstance(prompt, str):
        assert typed(keys, InMemoryHistory()) == prompt
    else:
        with pytest.raises(prompt):
            typed(keys, InMemoryHistory())


def test_the_history_is_kept_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    typed("Hello\r", open_history())
    file = tmp_path / "agentkit/history"
    assert "+Hello\n" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Hello" in open_history().load_history_strings()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert isinstance(open_history(), InMemoryHistory)
