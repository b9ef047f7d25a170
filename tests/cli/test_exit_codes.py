import pytest
import typer

from agentkit import ConfigurationError, InvalidRequest, SessionError
from agentkit.cli.exit_codes import Code, code_of, text_of, told


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigurationError("no\nendpoint"), 2, "agentkit: no endpoint\n"),
        (InvalidRequest("no prompt"), 2, "agentkit: no prompt\n"),
        (SessionError("cannot be read"), 1, "agentkit: cannot be read\n"),
        (ValueError("odd\x1b[2J"), 1, "agentkit: ValueError: odd�[2J (--traceback shows where)\n"),
        (KeyError(), 1, "agentkit: KeyError (--traceback shows where)\n"),
        (KeyboardInterrupt(), 130, "agentkit: stopped\n"),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as end, told(traceback=False):
        raise error
    assert end.value.exit_code == code
    assert capsys.readouterr() == ("", said)


def test_a_traceback_is_shown_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), told(traceback=True):
        raise ValueError("odd")
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert shown.endswith("agentkit: ValueError: odd (--traceback shows where)\n")


@pytest.mark.parametrize("end", [typer.Exit(3), typer.Abort(), BrokenPipeError()])
def test_an_end_stays_what_it_is(end: Exception) -> None:
    with pytest.raises(type(end)), told(traceback=False):
        raise end


def test_the_code_says_whether_anything_was_tried() -> None:
    assert code_of(ConfigurationError("")) is Code.USAGE
    assert code_of(RuntimeError("")) is Code.FAILED
    assert text_of(RuntimeError("a")) == "RuntimeError: a (--traceback shows where)"
