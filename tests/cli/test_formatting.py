import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import ToolCall, Usage
from agentkit.cli.formatting import call_of, line, safe, short, usage_of


@given(st.text(st.characters()))
def test_no_text_steers_a_terminal(text: str) -> None:
    shown = safe(text)
    assert all(each in "\n\t" or not (ord(each) < 32 or 127 <= ord(each) < 160) for each in shown)
    shown.encode()
    assert "\n" not in line(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_what_does_not_steer_stays(text: str) -> None:
    assert safe(text) == text


def test_what_would_steer_shows() -> None:
    assert safe("a\x1b[2Jb\r\n\u202ec\ud800") == "a�[2Jb\n�c�"
    assert short("one\n two  three", 9) == "one two t…"
    assert short("one\n two", 7) == "one two"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"city": "Genève", "days": [1, 2]}', 'f(city="Genève", days=[1, 2])'),
        ("{}", "f()"),
        (" {} ", "f()"),
        ('{"city": ', 'f({"city": )'),
        ("[1]", "f([1])"),
        ('{"a": "\\u001b[2J"}', 'f(a="\\u001b[2J")'),
        ("\x1b[2J", "f(�[2J)"),
    ],
)
def test_a_call_is_written_as_code(arguments: str, shown: str) -> None:
    assert call_of(ToolCall("1", "f", arguments)) == shown


def test_what_requests_cost_is_written() -> None:
    assert usage_of(Usage()) == "0 requests"
    assert usage_of(Usage(1, 1000, 200)) == "1 request, 1,200 tokens"
    assert usage_of(Usage(2, 10, 5, 3, 0.25)) == "2 requests, 15 tokens (3 of them cached), cost 0.25"
