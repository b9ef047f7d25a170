import os

import pytest
import typer

from agentkit import ConfigurationError, InvalidRequest, MissingExtra, SessionError
from agentkit.cli.exit_codes import exit_on_error
from agentkit.testing import chaos, status
from tests.cli.commands import give


@pytest.mark.parametrize(("error", "code", "text"), [
    (ConfigurationError("no\nendpoint"), 2, "agentkit: no endpoint\n"),
    (MissingExtra("no dbos"), 2, "agentkit: no dbos\n"),
    (InvalidRequest("no prompt"), 2, "agentkit: no prompt\n"),
    (SessionError("cannot be read"), 1, "agentkit: cannot be read\n"),
    (ValueError("odd\x1b[2J"), 1, "agentkit: ValueError: odd\\u001b[2J (--traceback shows where)\n"),
    (KeyError(), 1, "agentkit: KeyError (--traceback shows where)\n"),
    (KeyboardInterrupt(), 130, "agentkit: stopped\n"),
])  # fmt: skip
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as end, exit_on_error(traceback=False):
        raise error
    assert (end.value.exit_code, capsys.readouterr()) == (code, ("", text))


@pytest.mark.parametrize(("model", "env", "option"), [
    ("m", {}, "--base-url and --api-key"), ("openai:m", {}, "--api-key"), ("azure:m", {}, "--base-url"),
    ("openai:m", {"OPENAI_BASE_URL": "closed"}, "--api-key"),
])  # fmt: skip
def test_messages_name_options(model: str, env: dict[str, str], option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with chaos(status(401)) as endpoint:
        for name in [name for name in os.environ if name.startswith(("AGENTKIT_", "OPENAI_", "AZURE_"))]:
            monkeypatch.delenv(name)
        if env:
            monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
            monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
        text = give("run", model, "Hello").stderr
    assert option in text
    assert "ChatClient" not in text
    assert "=…" not in text


def test_a_traceback_is_shown_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), exit_on_error(traceback=True):
        raise ValueError("odd")
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("agentkit: ValueError: odd (--traceback shows where)\n")


@pytest.mark.parametrize("end", [typer.Exit(3), typer.Abort(), BrokenPipeError()])
def test_an_end_stays_what_it_is(end: Exception) -> None:
    with pytest.raises(type(end)), exit_on_error(traceback=False):
        raise end
