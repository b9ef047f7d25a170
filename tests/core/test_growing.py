import copy
import pickle
from operator import add, eq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.growing import GrowingTuple, folded, grown

items = st.lists(st.integers(0, 2), max_size=3)


@given(st.lists(st.tuples(st.integers(0, 99), items), max_size=12))
def test_each_grows_as_tuples_do_and_never_changes(steps: list[tuple[int, list[int]]]) -> None:
    made, plain = [GrowingTuple[int]()], [tuple[int, ...]()]
    for choice, added in steps:
        at = choice % len(made)
        made.append(made[at].plus(added, eq))
        plain.append((*plain[at], *added))
    for one, other in zip(made, plain, strict=True):
        assert one == other
        assert (list(one), list(reversed(one)), len(one)) == (list(other), list(reversed(other)), len(other))


@given(st.lists(st.tuples(st.integers(0, 99), items), max_size=12))
def test_a_fold_goes_on_from_a_shorter_one(steps: list[tuple[int, list[int]]]) -> None:
    made, nothing = [GrowingTuple[int]()], tuple[int, ...]()
    for choice, added in steps:
        made.append(made[choice % len(made)].plus(added, eq))
        one = made[(choice * 7) % len(made)]
        assert folded(one, "all", nothing, lambda before, new: (*before, *new)) == one
    assert folded((1, 2), "sum", 0, lambda total, new: total + sum(new)) == 3


@given(items, st.integers(-4, 4), st.slices(3))
def test_reads_as_a_tuple(plain: list[int], at: int, part: slice) -> None:
    made, other = GrowingTuple(plain), tuple(plain)
    made.plus([7])
    assert made[part] == other[part]
    assert (hash(made), repr(made), add(made, [5])) == (hash(other), repr(other), (*other, 5))
    if -len(other) <= at < len(other):
        assert made[at] == other[at]
    else:
        with pytest.raises(IndexError):
            made[at]


def test_what_grows_from_the_last_one_shares_its_list() -> None:
    first = GrowingTuple([1])
    second = grown(first, [2, 3])
    again, other = grown(first, [2], eq), grown(first, [4])
    lists = [one._items for one in (first, second, again, other) if isinstance(one, GrowingTuple)]  # pyright: ignore[reportPrivateUsage]
    assert [held is lists[0] for held in lists] == [True, True, True, False]
    assert [*map(tuple, (first, second, again, other))] == [(1,), (1, 2, 3), (1, 2), (1, 4)]


def test_only_the_same_items_are_shared() -> None:
    first, mine, yours = GrowingTuple[list[int]](), [1], [1]
    assert first.plus([mine])[0] is mine
    assert first.plus([yours])[0] is yours


def test_what_it_can_do_beside() -> None:
    short = GrowingTuple([1])
    longer = short.plus([2])
    sums = [folded(one, "sum", 0, lambda total, new: total + sum(new)) for one in (longer, short, longer)]
    assert sums == [3, 1, 3]
    assert (len(longer), longer[-1], longer[1:], [*reversed(longer)]) == (2, 2, (2,), [2, 1])
    assert (add(short, [5]), hash(longer), repr(longer)) == ((1, 5), hash((1, 2)), "(1, 2)")
    with pytest.raises(IndexError):
        short[1]


def test_nothing_is_kept_for_a_key_without_a_hash() -> None:
    made = GrowingTuple([1, 2])
    asked = [folded(made, [], 0, lambda total, new: total + sum(new)) for _ in range(2)]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert (asked, made._folds) == ([3, 3], {})  # pyright: ignore[reportPrivateUsage]


def test_copies_have_their_own_items() -> None:
    made = GrowingTuple([1])
    made.plus([2])
    assert (copy.deepcopy(made), pickle.loads(pickle.dumps(made))) == (made, made)  # noqa: S301 (our own)
    assert made != [1]
    assert grown((1,), (2,)) == (1, 2)
