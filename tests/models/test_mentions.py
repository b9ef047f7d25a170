import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.models.mentions import (
    is_name,
    may_begin,
    mentions,
    names,
    numbers_in,
    parts_of,
    runs_in,
    stems_of,
    without,
)

NUMBERS: list[tuple[str, list[tuple[float, ...]]]] = [
    ("a base of 10 units and a height of 2.5", [(10,), (2.5,)]),
    ("$1,250.50 of [100,200], 9007199254740993", [(1250.5,), (100200,), (100,), (200,), (9007199254740993,)]),
    ("2 million, 1.5 billion, 3k and 1e-9", [(2_000_000,), (1_500_000_000,), (3, 3000), (1e-9,)]),
    ("$1M or €2k, in 5 m, at 6 m/s", [(1_000_000,), (2000,), (5, 5_000_000), (6,)]),
    ("from 2019-2020, at -3.5 and (40.5, -74.25)", [(2019,), (2020,), (-3.5,), (40.5,), (-74.25,)]),
    ("case CA123456, version 3.5.2", [(3.5,)]),
    ("Two players, the 2nd game, a 3-hour match at 10:30", [(2,), (2,), (3,), (10,), (30,)]),
    ("next month, 1e999 times, 1e308 billion", [()]),
]


@pytest.mark.parametrize(("text", "numbers"), NUMBERS)
def test_the_numbers_of_a_text(text: str, numbers: list[tuple[float, ...]]) -> None:
    assert [number.values for number in numbers_in(text)] == numbers


def test_percent_and_words() -> None:
    two, five, seven = numbers_in("two of them, at 5% or 7.5 percent")
    assert [(n.is_word, n.is_percent) for n in (two, five, seven)] == [(True, False), (False, True), (False, True)]
    assert five.means(5)
    assert five.means(0.05)
    assert not five.means(0.5)
    assert not two.means(0.02)


@pytest.mark.parametrize(("text", "beside"), [
    ("a speed of 20 m/s and then accelerates at 10 m/s^2", [{"speed", "m"}, {"then", "accel", "m"}, set[str]()]),
    ("net income of $2,000, shareholder's equity of $10,000", [{"net", "incom"}, {"share", "equit"}]),
    ("70kg and is 1.75m tall", [{"kg"}, {"tall"}]),
    ("5 heads in 10 fair coin tosses, on page 7", [{"head"}, {"fair", "coin"}, {"page"}]),
    ("one two three four five years 6", [{"two", "three"}, {"one", "three", "four"}]),
])  # fmt: skip
def test_the_words_beside_a_number(text: str, beside: list[set[str]]) -> None:
    found = [number.beside for number in numbers_in(text)]
    assert [set(near) - {"s", "2"} for near in found][: len(beside)] == beside


def words_of(text: str) -> list[str]:
    return [run[0][1] + "".join([between + word for between, word in run[1:]]) for run in runs_in(text)]


def test_runs_end_at_quotations_dates_and_some_prepositions() -> None:
    assert words_of('Find "Dance in the Dark" in\nNew York, D.C.') == ["Find", "Dance in the Dark", "New York, D.C"]
    assert words_of("The Lord of the Rings on Saturday for me") == ["The Lord of the Rings", "Saturday"]
    assert words_of("air in London 2022/08/16 of 'X Inc.' (a test)") == [
        "air",
        "London",
        "2022/08/16",
        "of",
        "X Inc",
        "test",
    ]
    assert words_of(" \n in ") == []


@pytest.mark.parametrize(("text", "value", "left"), [
    ("Trains Rome to Venice", "Rome", ["Trains", "to Venice"]),
    ("New York to New York, NY", "New_York", ["to", "NY"]),
    ("Rome", "Rome", []),
    ("Old Town", "Town Old", ["Old Town"]),
])  # fmt: skip
def test_what_is_left_of_runs(text: str, value: str, left: list[str]) -> None:
    runs = without(runs_in(text), value)
    assert [" ".join([word for _, word in run]) for run in runs if run] == left


def test_names_have_capital_letters() -> None:
    (run,) = runs_in("Find Old Town of Rome. See The 42 Ways")
    assert [word for at, (_, word) in enumerate(run) if is_name(run, at)] == ["Old", "Town", "Rome", "Ways"]
    assert [word for at, (_, word) in enumerate(run) if not may_begin(run, at)] == ["of"]


def test_words_and_stems() -> None:
    assert parts_of("pageSize of HTTPServer2") == ["page", "size", "of", "http", "server", "2"]
    assert stems_of("The number of years, of temperature_1") == {"year", "tempe"}
    assert [mentions(["monthly", "7"], text) for text in ("months ago", "of 7", "x m")] == [True, True, False]


@pytest.mark.parametrize(("choice", "is_named"), [
    ("Celsius", True), ("pet-friendly", True), ("wars", True), ("monthly", True), ("g", True), ("K", False), ("en", False),
    ("on", False), ("a", False), ("of the", False), ("war of the stars", False), ("", False),
])  # fmt: skip
def test_all_words_of_a_choice_are_named(choice: str, is_named: bool) -> None:
    parts = parts_of("On the war, English, a month, 5 kg to g, in celsius, with friendly pets")
    assert names(frozenset([*parts, "wars", "pet"]), choice) is is_named


@given(st.lists(st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6).map(lambda number: round(number, 3)))))
def test_numbers_are_found_as_python_writes_them(numbers: list[float]) -> None:
    text = " ".join([f"{number:f}".rstrip("0").rstrip(".") for number in numbers])
    assert set(numbers) <= {value for number in numbers_in(text) for value in number.values}


@given(st.text())
def test_the_words_of_a_run_stand_in_the_text_in_this_order(text: str) -> None:
    at = 0
    for run in runs_in(text):
        for _, word in run:
            at = text.index(word, at) + len(word)
