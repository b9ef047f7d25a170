import json
import sys
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import AgentkitError, ConfigurationError, ToolCall, ToolError
from agentkit.core.json import decode
from agentkit.core.printable import LINES, PROSE, folded, format_call, one_line, printable


def test_each_character_that_a_terminal_obeys_is_an_escape() -> None:
    unsafe = [char for char in map(chr, range(sys.maxunicode + 1)) if category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    shown = list(map(printable, unsafe))
    assert all(text.isascii() and text.isprintable() for text in shown)
    assert [json.loads(f'"{text}"') for text in shown] == unsafe


@given(st.text(st.characters()))
def test_what_is_shown_cannot_steer_and_can_be_written(text: str) -> None:
    for keep in ("", LINES, PROSE):
        shown = printable(text, keep)
        assert all(char.isprintable() or char in keep for char in shown)
        shown.encode()
        assert printable(shown, keep) == shown
    assert len(one_line(text).splitlines()) <= 1


@given(
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="\u115f\u1160\u2800\u3164\uffa0"))
)
def test_what_does_not_steer_stays(text: str) -> None:
    assert printable(text, PROSE) == text


def test_what_would_steer_shows() -> None:
    assert printable("a\x1b[2Jb\x7f\u202ec\ud800\u3164\u200d") == r"a\u001b[2Jb\u007f\u202ec\ud800\u3164\u200d"
    assert printable("a\r\n\tb\rc", LINES) == "a\n\tb\\rc"
    assert printable("❤\ufe0f \u3000\u200d\u202e", PROSE) == "❤\ufe0f \u3000\u200d\\u202e"
    assert (one_line(" one\n two\x85"), one_line("x" * 201, 200)) == ("one two", "x" * 200 + "…")


@pytest.mark.parametrize(("arguments", "shown"), [
    ('{"city": "Genève", "days": [1, 2]}', 'f(city="Genève", days=[1, 2])'),
    ("{}", "f()"), (" {} ", "f()"), ('{"city": ', 'f({"city": )'), ("[1]", "f([1])"),
    ('{"a": "\\u001b[2J"}', r'f(a="\u001b[2J")'), ("\x1b[2J", r"f(\u001b[2J)"), ('{"a=1, b": 2}', 'f("a=1, b"=2)'),
    ('{"a": "cafe\u0301 \u0301 \\u202e\u0301\\n\u0301"}', 'f(a="cafe\u0301 \\u0301 \\u202e\\u0301\\n\\u0301")'),
    ('{"a": "e' + "\u0301" * 6 + '"}', 'f(a="e' + "\u0301" * 4 + '\\u0301\\u0301")'), ('{"a": "\u0338"}', 'f(a="\\u0338")'),
    ('{"a": "1\\n' + " " * 4 + '2"}', r'f(a="1\n    2")'), ('{"a": "' + " " * 17 + '"}', 'f(a=" ' + r"\u0020" * 16 + '")'),
])  # fmt: skip
def test_a_call_is_written_as_code(arguments: str, shown: str) -> None:
    assert format_call(ToolCall("1", "f", arguments)) == shown


@given(st.text(st.characters()))
def test_a_value_in_a_call_is_the_same_json(text: str) -> None:
    arguments = json.dumps({"a": text})
    value = format_call(ToolCall("1", "f", arguments)).removeprefix("f(a=").removesuffix(")")
    assert {"a": decode(value)} == decode(arguments)


@given(st.text(st.characters(categories=["L", "N"])), st.integers(20, 60))
def test_folded_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    first, *others = folded(text, width)
    assert all(line.startswith("    ") for line in others)
    assert first + "".join([line[4:] for line in others]) == text
    assert all(len(line) <= width for line in (first, *others))


def test_an_error_is_one_line_unless_it_is_a_developers() -> None:
    assert str(AgentkitError("a\nERROR b\x1b[2J")) == r"a\nERROR b\u001b[2J"
    assert str(ConfigurationError("a\n  b\x9b")) == "a\n  b\\u009b"
    assert str(ToolError("a\nb\x1b")) == "a\nb\x1b"
