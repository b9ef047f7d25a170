import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit._frozen import frozen

NAN = float("nan")


def scene(made: Callable[..., Any]) -> Any:
    """One class, made by a decorator; two of them must not differ in what they do."""

    @made
    class Point:
        """A point."""

        x: float
        y: float = 0.0
        marks: tuple[str, ...] = ()
        seen: dict[str, int] = field(default_factory=dict[str, int], hash=False)
        note: str = field(default="", compare=False)
        secret: str = field(default="s", repr=False, kw_only=True)
        length: float = field(init=False, compare=False)
        kept: list[int] = field(init=False, default_factory=list[int], compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "length", abs(self.x) + abs(self.y))

    return Point


OURS, THEIRS = scene(frozen), scene(dataclass(frozen=True, slots=True))
ARGUMENTS = st.tuples(
    st.sampled_from([0.0, 1.0, NAN]),
    st.sampled_from([0.0, 2.0]),
    st.sampled_from([(), ("a",)]),
    st.sampled_from([{}, {"a": 1}]),
    st.sampled_from(["", "n"]),
)


@given(ARGUMENTS, ARGUMENTS)
def test_a_value_is_what_a_dataclass_is(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    ours, theirs = [[kind(*left), kind(*right)] for kind in (OURS, THEIRS)]
    assert [repr(each) for each in ours] == [repr(each) for each in theirs]
    assert (ours[0] == ours[1]) is (theirs[0] == theirs[1])
    assert [hash(each) for each in ours] == [hash(each) for each in theirs]
    assert str(asdict(ours[0])) == str(asdict(theirs[0]))
    assert repr(replace(ours[0], y=5.0, secret="t")) == repr(replace(theirs[0], y=5.0, secret="t"))


def test_its_class_looks_the_same() -> None:
    assert [each.name for each in fields(OURS)] == [each.name for each in fields(THEIRS)]
    ours, theirs = inspect.signature(OURS).parameters, inspect.signature(THEIRS).parameters
    assert [(each.name, each.kind, each.annotation) for each in ours.values()] == [
        (each.name, each.kind, each.annotation) for each in theirs.values()
    ]
    assert (ours["y"].default, ours["x"].default) == (0.0, inspect.Parameter.empty)
    assert OURS.__match_args__ == THEIRS.__match_args__
    assert OURS.__slots__ == THEIRS.__slots__
    assert OURS.__init__.__qualname__.endswith("Point.__init__")


def test_values_of_two_classes_are_not_equal() -> None:
    assert OURS(1.0) != THEIRS(1.0)
    assert OURS(NAN) == OURS(NAN)  # the same object in both


@pytest.mark.parametrize("name", ["x", "length", "other"])
def test_nothing_in_it_changes(name: str) -> None:
    point = OURS(1.0)
    with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(point, name, 2.0)
    with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
        delattr(point, name)
    assert point.x == 1.0


def test_who_extends_it_may_have_more() -> None:
    class Named(OURS):  # type: ignore[misc, valid-type]
        pass

    named = Named(1.0)
    named.name = "here"
    assert named.name == "here"
    del named.name
    assert not hasattr(named, "name")
    with pytest.raises(FrozenInstanceError):
        named.x = 2.0
    with pytest.raises(FrozenInstanceError):
        del named.x


@frozen
class Kept:
    text: str
    _parsed: dict[str, int] = field(default_factory=dict[str, int])


@frozen(kw_only=True)
class Base:
    id: str = ""


@frozen
class Extended(Base):
    text: str


@frozen(eq=False)
class Same:
    pass


@frozen
class Said:
    text: str

    def __repr__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Said)

    def __hash__(self) -> int:
        return 7


def test_it_is_copied_and_pickled() -> None:
    kept = Kept("a", {"b": 1})
    for each in (copy.copy(kept), copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):  # noqa: S301
        assert each == kept
        assert each._parsed == {"b": 1}


def test_one_extends_another() -> None:
    assert repr(Extended("a", id="7")) == "Extended(id='7', text='a')"
    assert len({Base(id="7"), Base(id="7"), Base(id="8")}) == 2
    with pytest.raises(TypeError, match="positional argument"):
        Extended("7", "a")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def test_each_may_be_equal_to_itself_alone() -> None:
    same = Same()
    assert same == same  # noqa: PLR0124
    assert same != Same()
    assert len({same, Same()}) == 2


def test_what_a_class_defines_itself_stays() -> None:
    assert repr(Said("a")) == "a"
    assert Said("a") == Said("b")
    assert hash(Said("a")) == 7


def test_what_is_not_given_is_missed() -> None:
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'text'"):
        Kept()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
