"""A tuple that grows cheaply.

A run of n steps makes n histories, each a little longer than the one before. As plain tuples they cost the square of n.
So they share one list, and each is a view of its beginning.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from operator import is_
from threading import Lock
from typing import Any, TypeVar, cast, overload

T = TypeVar("T")
A = TypeVar("A")
_LOCK = Lock()


class GrowingTuple(Sequence[T]):
    """A tuple that shares its items with those that were made from it by `grown`. It equals a tuple of the same items.

    grown(("a", "b"), ["c"])[1:]  # ("b", "c")
    """

    __slots__ = ("_folds", "_items", "_length")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items = list(items)
        self._length = len(self._items)
        self._folds: dict[Hashable, tuple[int, Any]] = {}

    def plus(self, items: Sequence[T], same: Callable[[T, T], bool] = is_) -> "GrowingTuple[T]":
        """Return a longer one. It shares the list, unless this one has grown before and by other items."""
        longer: GrowingTuple[T] = object.__new__(GrowingTuple)  # pyright: ignore[reportUnknownVariableType]
        shared, folds = self._items, self._folds
        length = longer._length = self._length + len(items)
        with _LOCK:
            new = len(shared) - self._length
            if new and not all(map(same, shared[self._length : length], items)):
                shared, folds = shared[: self._length], {}
                new = 0
            shared += items[new:]
        longer._items, longer._folds = shared, folds
        return longer

    def folded(self, key: Hashable, start: A, add: Callable[[A, Iterable[T]], A]) -> A:
        """Return what `add` makes of all items, from `start` on; see `folded`."""
        nothing = 0, start
        try:
            # Taken out, so that no one else goes on from the same value.
            done, value = self._folds.pop(key, nothing) if key in self._folds else nothing
        except TypeError:  # the key cannot be hashed
            return add(start, self)
        if done > self._length:
            self._folds[key] = done, value
            return add(start, self)
        value = add(value, islice(self._items, done, self._length))
        self._folds[key] = self._length, value
        return value

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        if isinstance(index, slice):
            begin, end, step = index.indices(self._length)
            found = self._items[begin:end:step] if step > 0 else map(self._items.__getitem__, range(begin, end, step))
            return tuple(found)
        at = index + self._length if index < 0 else index
        if not 0 <= at < self._length:
            raise IndexError(index)
        return self._items[at]

    def __iter__(self) -> Iterator[T]:
        return islice(self._items, self._length)

    def __reversed__(self) -> Iterator[T]:
        return map(self._items.__getitem__, range(self._length - 1, -1, -1))

    def __add__(self, other: Iterable[T]) -> tuple[T, ...]:
        return (*self, *other)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(cast("Sequence[T]", other)) if isinstance(other, GrowingTuple | tuple) else False

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[object, ...]:
        return GrowingTuple, (tuple(self),)


def folded(items: Sequence[T], key: Hashable, start: A, add: Callable[[A, Iterable[T]], A]) -> A:
    """Return what `add` makes of all items. A tuple that grows goes on from where a shorter one stopped.

    folded(messages, "size", 0, lambda size, new: size + sum(len(message.encoded) for message in new))

    Args:
        items: The items.
        key: What is made of them; equal keys have equal `start` and `add`. Nothing is kept for one without a hash.
        start: The value of no items, which is never changed.
        add: Returns the value with more items. It may change one that it made: read it before the next fold.
    """
    return items.folded(key, start, add) if isinstance(items, GrowingTuple) else add(start, items)


def grown(items: Sequence[T], added: Sequence[T], same: Callable[[T, T], bool] = is_) -> Sequence[T]:
    """Return items and what is added to them, as one tuple that shares its beginning.

    Args:
        items: The items.
        added: The ones to add.
        same: Whether two items are the same, if a tuple has grown twice; only those are shared.
    """
    return items.plus(added, same) if isinstance(items, GrowingTuple) else GrowingTuple((*items, *added))
