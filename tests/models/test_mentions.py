import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.models.mentions import may_begin, mentions, numbers_in, parts_of, runs_in, stems_of

NUMBERS: list[tuple[str, list[tuple[float, ...]]]] = [
    ("a base of 10 units and a height of 2.5", [(10,), (2.5,)]),
    ("$1,250.50 of [100,200], 9007199254740993", [(1250.5,), (100200,), (100,), (200,), (9007199254740993,)]),
    ("2 million, 1.5 billion, 3k and 1e-9", [(2_000_000,), (1_500_000_000,), (3, 3000), (1e-9,)]),
    ("$1M or €2k, in 5 m, at 6 m/s", [(1_000_000,), (2000,), (5, 5_000_000), (6,)]),
    ("from 2019-2020, at -3.5 and (40.5, -74.25)", [(2019,), (2020,), (-3.5,), (40.5,), (-74.25,)]),
    ("case CA123456, version 3.5.2", [(3.5,)]),
    ("Two players, the 2nd game, a 3-hour match at 10:30", [(2,), (2,), (3,), (10,), (30,)]),
    ("next month, 1e999 times", []),
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


@pytest.mark.parametrize(("text", "starts"), [
    ("the ranking of Manchester United", ["ranking", "Manchester"]),
    ("Find Old Town of Rome", ["Find", "Old", "Rome"]),
    ("Go. Visit Old Town, Main Street 42", ["Go", "Visit", "Old", "Main", "42"]),
    ("building B12 Old X", ["building", "B12", "Old"]),
])  # fmt: skip
def test_a_value_begins_with_a_whole_name(text: str, starts: list[str]) -> None:
    (run,) = runs_in(text)
    assert [word for at, (_, word) in enumerate(run) if may_begin(run, at)] == starts


def test_words_and_stems() -> None:
    assert parts_of("pageSize of HTTPServer2") == ["page", "size", "of", "http", "server", "2"]
    assert stems_of("The number of years, of temperature_1") == {"year", "tempe"}
    assert mentions(["monthly", "7"], "month of 7 x") == [True, False, True, False]


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
