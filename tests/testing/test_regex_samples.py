import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import ConfigurationError
from agentkit.testing.regex_samples import matching

PATTERNS = [
    "",
    "abc",
    "^a|b$",
    "[^a-z]",
    "[a-c][x]",
    r"\d{3}-\w+ \s*\S\W\D",
    r"[\d.]+",
    r"[^\d\w]",
    "(ab)+c?",
    r"(a|b)\1",
    "(?P<name>x{2,4}?)(?:y)*",
    "(?i:hello)",
    "a++b*+",
    "(?>a|b)c",
    ".+@.+",
    "[^a]",
    "^[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2}$",
    r"^-?(?:0|[1-9]\d*)(?:\.\d+)?$",
    "(?=a)a",
    r"\bword\b",
    "[é-ü]",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_text_matches(pattern: str) -> None:
    assert re.search(pattern, matching(pattern))


def test_lengths_and_numbers() -> None:
    assert len(matching("^a+$", 7, 7)) == 7
    assert len(matching("^ab", 7)) == 7
    assert len({matching("^[0-9]$", number=number) for number in range(10)}) == 10
    assert matching("^only$", number=5) == "only"


@pytest.mark.parametrize(("pattern", "longest"), [("(?!.*)", None), ("abc", 2), ("[^\\w\\W]", None)])
def test_what_is_not_found_is_told(pattern: str, longest: int | None) -> None:
    with pytest.raises(ConfigurationError, match="no text was found"):
        matching(pattern, 0, longest)


PIECES = st.sampled_from(["a", "[b-d]", r"\d", r"\w", ".", "[^x]", "(?:e|fg)"])
COUNTS = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "+?"])


@given(st.lists(st.tuples(PIECES, COUNTS).map("".join), min_size=1, max_size=5).map("".join), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_whatever_is_put_together_is_matched_whole(pattern: str, number: int) -> None:
    assert re.search(f"^{pattern}$", matching(f"^{pattern}$", number=number))
