from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.runs.batch.key_table import KeyTable
from tests.strategies import any_text


@given(st.lists(st.tuples(any_text(max_size=2), st.integers(0, 2**32 - 1))), st.integers(0, 5000))
def test_it_has_the_numbers_that_a_dict_has(pairs: list[tuple[str, int]], expected: int) -> None:
    table, numbers = KeyTable("Q", expected), dict[str, int]()
    for key, number in pairs:
        table[key] = numbers[key] = number
    assert {key: table[key] for key in numbers} == numbers
    assert table["no such key"] == 0


@pytest.mark.parametrize("kind", ["I", "Q"])
def test_it_grows(kind: Literal["I", "Q"]) -> None:
    table = KeyTable(kind)
    for number in range(5000):
        table[str(number)] = number + 1
        table[str(number // 2)] = 0
    assert [table[str(number)] for number in range(5000)] == [0] * 2500 + list(range(2501, 5001))


def test_it_has_room_for_the_keys_that_are_expected() -> None:
    table = KeyTable("Q", 5000)
    room = table._hashes
    for number in range(5000):
        table[str(number)] = 1
    assert table._hashes is room


def test_keys_that_belong_in_the_same_place() -> None:
    class Near(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return len(self)

    table = KeyTable("I")
    keys = [Near("a" * length) for length in (0, 1, 2, 1024, 1025, 2048)]
    for number, key in enumerate(keys, 1):
        table[key] = number
    assert [table[key] for key in keys] == [2, 2, 3, 4, 5, 6]  # 0 is a free place, so it counts as 1
