"""What a text mentions: its numbers, each with the words beside it, and runs of its words."""

import re
from collections.abc import Iterable, Iterator
from itertools import dropwhile, takewhile
from math import isfinite
from typing import NamedTuple, TypeAlias

Run: TypeAlias = tuple[tuple[str, str], ...]
"""Words in a row, each with what stands before it."""

_FIRST_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_SCALES = {"thousand": 10**3, "k": 10**3, "million": 10**6, "m": 10**6, "billion": 10**9}
_UNSURE = ("k", "m")  # meters and minutes, or a scale
_PERCENT = ("%", "percent")
_CURRENCIES = ("$", "€", "£")
# A sign, digits with or without commas, a fraction, and what scales it. Digits in a word are part of a name.
_NUMBER = re.compile(
    r"((?<!\w)-)?(?<![\w.])(\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?)(?:\s?(%|(?:percent|thousand|k|million|m|billion)\b(?!/)))?"
    rf"|\b({'|'.join(_FIRST_NUMBERS)})\b",
    re.IGNORECASE,
)
_NEAR = 60  # characters
_WORDS_BEFORE, _WORDS_AFTER = 4, 2
_BESIDE_ENDS = re.compile(r"([\d.,;:?!()\[\]\n])")
# A run ends where a quotation begins or ends, and at characters that JSON writes in another way.
_END_OF_RUN = re.compile(r"((?<=\s)['\u2018(\[]|['\u2019)\]](?=\s)|[\x00-\x1f\x7f\"\\])")
_QUOTES = frozenset("'\u2018\u2019\"")
# Names seldom have these; they do have `of` and `the`.
_BETWEEN_RUNS = frozenset(["a", "an", "are", "at", "for", "from", "i", "in", "is", "me", "my", "on", "that", "which"])
_NOT_FIRST = frozenset(["and", "by", "it", "of", "or", "the", "to", "with", "you"])
_COMMON = _BETWEEN_RUNS | _NOT_FIRST | {
    "about", "as", "be", "can", "could", "does", "has", "have", "how", "if", "its", "know", "need", "number", "should",
    "this", "use", "used", "value", "want", "what", "when", "where", "who", "will", "would", "your",
}  # fmt: skip
_SENTENCE = re.compile(r"[.:?!\n]")
_DATE = re.compile(r"\d{1,4}[-/]\d{1,2}[-/]\d{1,4}")
_WORD = re.compile(r"[^\W_](?:[^\s,;'\u2019()\[\]]*[^\W_])?")
_PART = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])|\d+")
_STEM = 5


class Number(NamedTuple):
    """A number in a text.

    Attributes:
        values: Its value; several where it can be read in several ways.
        is_percent: Whether it is said in percent.
        is_word: Whether it is written as a word, which may mean something else, as in "two numbers".
        beside: The stems of the words beside it.
    """

    values: tuple[float, ...]
    is_percent: bool
    is_word: bool
    beside: frozenset[str]

    def means(self, value: float) -> bool:
        """Whether a value is this number; 5 percent are 5 and 0.05."""
        return value in self.values or (self.is_percent and value in map(fraction, self.values))


def fraction(percent: float) -> float:
    """Return what so many percent are."""
    return round(percent / 100, 12)


def numbers_in(text: str) -> Iterator[Number]:
    """Yield the numbers that a text mentions."""
    for match in _NUMBER.finditer(text):
        sign, digits, scale, word = match.groups()
        beside = _beside(text, match)
        if word:
            yield Number((_FIRST_NUMBERS.index(word.casefold()),), is_percent=False, is_word=True, beside=beside)
            continue
        scale, before = (scale or "").casefold(), text[max(0, match.start() - 1) : match.start()]
        in_list = "," in digits and before in ("[", ",")
        for part in (digits.replace(",", ""), *(digits.split(",") if in_list else ())):
            number = float(f"{sign or ''}{part}")
            if isfinite(number):
                number = int(f"{sign or ''}{part}") if part.isdecimal() else number
                values = _readings(number, scale, is_money=before in _CURRENCIES)
                yield Number(values, is_percent=scale in _PERCENT, is_word=False, beside=beside)


def _readings(number: float, scale: str, *, is_money: bool) -> tuple[float, ...]:
    if scale not in _SCALES:
        return (number,)
    scaled = round(number * _SCALES[scale], 12)
    readings = (number, scaled) if scale in _UNSURE and not is_money else (scaled,)
    return tuple(filter(isfinite, readings))


def _beside(text: str, match: "re.Match[str]") -> frozenset[str]:
    """Return the stems of the words beside a number, none beyond another number or a mark.

    Between two numbers, the words up to the first common one belong to the former, as its unit does.
    """
    *_, mark, near = "", *_BESIDE_ENDS.split(text[max(0, match.start() - _NEAR) : match.start()].rstrip("$€£"))
    before = near.split()
    if mark.isdigit():
        before = list(dropwhile(_means_something, before))
    after = _BESIDE_ENDS.split(text[match.end() : match.end() + _NEAR])[0].split()
    return stems_of(" ".join([*before[-_WORDS_BEFORE:], *takewhile(_means_something, after[:_WORDS_AFTER])]))


def runs_in(text: str) -> Iterator[Run]:
    """Yield the runs of words from which a value may be copied.

    Outside of quotations, a run also ends at a preposition that names seldom have, and before and after a date.
    """
    ends = ["\n", *_END_OF_RUN.split(text), "\n"]
    for before, piece, after in zip(ends[::2], ends[1::2], ends[2::2], strict=False):
        run: list[tuple[str, str]] = []
        is_quoted = {before, after} <= _QUOTES
        between, end = "\n" if before == "\n" else "", 0
        for match in _WORD.finditer(piece):
            word, between, end = match.group(), between + piece[end : match.start()], match.end()
            is_date = _DATE.fullmatch(word) is not None
            if not is_quoted and (is_date or word in _BETWEEN_RUNS):
                if run:
                    yield tuple(run)
                if is_date:
                    yield (("", word),)
                run = []
            else:
                run.append((between, word))
            between = ""
        if run:
            yield tuple(run)


def may_begin(run: Run, at: int) -> bool:
    """Whether a value may begin with this word of a run."""
    return run[at][1] not in _NOT_FIRST


def is_name(run: Run, at: int) -> bool:
    """Whether this word of a run is a name, as far as capital letters tell: not the first of a sentence."""
    between, word = run[at]
    return word[0].isupper() and word.lower() not in _COMMON and not _SENTENCE.search(between)


def without(runs: Iterable[Run], text: str) -> Iterator[Run]:
    """Yield what is left of runs where a text is cut out of them."""
    words = _WORD.findall(text.replace("_", " "))
    for run in runs:
        begin = 0
        for at in range(len(run)):
            if at >= begin and [word for _, word in run[at : at + len(words)]] == words:
                yield run[begin:at]
                begin = at + len(words)
        yield run[begin:]


def parts_of(text: str) -> list[str]:
    """Return the words in a text or a name in lower case: `pageSize` has two."""
    return [part.casefold() for part in _PART.findall(text)]


def stems_of(text: str) -> frozenset[str]:
    """Return the stems of the words in a text or a name that mean something."""
    parts = [part for part in parts_of(text) if _means_something(part) and not part.isdigit()]
    return frozenset([part[:_STEM].removesuffix("s") or part for part in parts])


def _means_something(word: str) -> bool:
    return word not in _COMMON


def mentions(parts: Iterable[str], text: str) -> bool:
    """Whether a word of a text, or one that begins like it, is among these parts."""
    known = list(parts)
    stems = [part[:_STEM] for part in parts_of(text)]
    return any(len(stem) > 1 or stem.isdigit() for stem in stems for part in known if part.startswith(stem))


def names(parts: frozenset[str], text: str) -> bool:
    """Whether each word of a text is among these parts; of a long word, whether its stem is."""
    words = parts_of(text)
    return not _COMMON.issuperset(words) and all(
        any(part.startswith(word[:_STEM]) for part in parts)
        if len(word) >= _STEM
        else not parts.isdisjoint((word, f"{word}s"))
        for word in words
    )
