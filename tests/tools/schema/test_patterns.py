"""Patterns in JavaScript's dialect: what they match, and which are not enforced."""

from time import process_time

import pytest

from agentkit.tools.schema.patterns import compiled


@pytest.mark.parametrize(("pattern", "matching", "others"), [
    ("a", ["cat"], ["dog"]),
    (r"^\d+$", ["12"], ["१", "12\n"]),
    (r"^\D\W\S$", ["é-é"], ["1-é", "éa1", "é-\ufeff"]),
    (r"^\s\w$", ["\ufeff_", "\u2028a"], ["\x85a", " é"]),
    (r"^[\w-.]+$", ["a-."], ["é"]),
    (r"^[^\d\S]$", [" "], ["1", "a"]),
    ("^[[]$", ["["], ["]"]),
    ("^[a&&b~~c]$", ["&", "~"], ["&&", "d"]),
    ("^[+--]$", ["+", ",", "-"], ["."]),
    ("^.$", ["é"], ["\r", "\u2029", "ab"]),
    ("[]", [], ["", "a"]),
    ("^[^]$", ["\n"], [""]),
    ("^a{,3}{$", [], ["a"]),
    ("^{a}$", ["{a}"], ["a"]),
    ("^a{2,3}$", ["aa", "aaa"], ["a", "aaaa"]),
    (r"\bx\b", ["éx"], ["ax"]),
    (r"^[\b]$", ["\b"], ["b"]),
    (r"^\cJ\u0041\ud83d\udc32\0$", ["\nA\U0001f432\x00"], ["JA"]),
    (r"^\p{L}\P{Lu}\u{1F432}$", ["éa\U0001f432"], ["1a"]),
    (r"^(?<year>\d{4})\Z", ["2026"], ["2026\n"]),
    ("^(a|b(c))*$", ["abc", ""], ["ac"]),
])  # fmt: skip
def test_what_a_pattern_matches(pattern: str, matching: list[str], others: list[str]) -> None:
    read = compiled(pattern)
    assert read is not None
    assert [text for text in (*matching, *others) if read.matches(text)] == matching


@pytest.mark.parametrize(
    "pattern",
    ["(?=a)", "(?<!a)", r"(a)\1", r"(?<y>a)\k<y>", r"\ud83d", r"\c", "(a{1,99}){1,99}", "a{9999999999}", "a" * 3_000],
)
def test_what_is_not_enforced(pattern: str) -> None:
    assert compiled(pattern) is None


@pytest.mark.parametrize("pattern", ["(", ")", "[", "*", "a{3,1}", "[b-a]", "(" * 300 + ")" * 300])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a pattern"):
        compiled(pattern)


def test_the_time_is_linear() -> None:
    began = process_time()
    for pattern in ("^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(x+x+)+y", r"^(\w+\s?)*$"):
        read = compiled(pattern)
        assert read is not None
        assert not read.matches("a" * 5_000 + "!")
    assert process_time() - began < 1, "a backtracking engine takes for ever"
