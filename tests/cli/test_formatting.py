import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ToolCall, Usage
from agentkit.cli.formatting import format_call, format_usage, one_line, printable, shortened


@given(st.text(st.characters()))
def test_no_text_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert all(char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160) for char in shown)
    shown.encode()
    assert "\n" not in one_line(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_what_does_not_steer_stays(text: str) -> None:
    assert printable(text) == text


def test_what_would_steer_shows() -> None:
    assert (printable("a\x1b[2Jb\r\n\u202ec\ud800"), shortened("one\n two")) == ("a�[2Jb\n�c�", "one two")
    assert shortened("x" * 201) == "x" * 200 + "…"


@pytest.mark.parametrize(("arguments", "shown"), [
    ('{"city": "Genève", "days": [1, 2]}', 'f(city="Genève", days=[1, 2])'),
    ("{}", "f()"), (" {} ", "f()"), ('{"city": ', 'f({"city": )'), ("[1]", "f([1])"),
    ('{"a": "\\u001b[2J"}', 'f(a="\\u001b[2J")'), ("\x1b[2J", "f(�[2J)"),
])  # fmt: skip
def test_a_call_is_written_as_code(arguments: str, shown: str) -> None:
    assert format_call(ToolCall("1", "f", arguments)) == shown


def test_what_requests_cost_is_written() -> None:
    assert format_usage(Usage()) == "0 requests"
    assert format_usage(Usage(1, 1000, 200)) == "1 request, 1,200 tokens"
    assert format_usage(Usage(2, 10, 5, 3, 0.25)) == "2 requests, 15 tokens (3 cached), cost 0.25"
