"""Frozen values: dataclasses with slots that are cheap to define and to make.

`dataclasses` writes and compiles six methods for each frozen class when it is defined; for the sixty classes here that
was a quarter of the time that the import took. Here most are closures, and only `__init__` is compiled, when the first
value is made.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, cast, dataclass_transform, overload

T = TypeVar("T")
Method = Callable[..., Any]


@overload
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T], /) -> type[T]: ...
@overload
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(*, eq: bool = True, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(
    cls: type[T] | None = None, /, *, eq: bool = True, kw_only: bool = False
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class one of frozen values, as `dataclass(frozen=True, slots=True)` does. What it defines itself stays.

    Args:
        cls: The class.
        eq: Whether values with equal fields are equal; else each is equal to itself alone.
        kw_only: Whether fields are given by name only.
    """

    def made(cls: type[T]) -> type[T]:
        kind: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
        methods: dict[str, object] = {
            "__init__": _Init(kind),
            "__repr__": _repr,
            "__getstate__": _state,
            "__setstate__": _restore,
        }
        methods |= _held(kind) | (_equality(kind) if eq else {})
        for name, method in methods.items():
            if name not in vars(kind) or (name == "__hash__" and vars(kind)[name] is None):
                setattr(kind, name, method)
        return cast("type[T]", kind)

    return made if cls is None else made(cls)


class _Init:
    """Stands for `__init__` until someone looks at it, and is replaced by it then."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __get__(self, made: object, owner: type) -> Method:
        init: Any = _init(self._kind)
        self._kind.__init__ = init
        return cast("Method", init.__get__(made, owner))


def _init(kind: Any) -> Method:
    """Compile `__init__`. A slot's own `__set__` does not ask whether the value is frozen."""
    scope: dict[str, Any] = {"_unset": MISSING}
    given: dict[bool, list[str]] = {False: [], True: []}
    body: list[str] = []
    for each in fields(kind):
        name = each.name
        scope[f"_set_{name}"] = getattr(kind, name).__set__
        said = name if each.init else f"_default_{name}"
        if each.default_factory is not MISSING:
            scope[f"_make_{name}"] = each.default_factory
            said = f"_make_{name}() if {name} is _unset else {name}" if each.init else f"_make_{name}()"
        elif not each.init and each.default is MISSING:
            continue  # it is set by `__post_init__`
        scope[f"_default_{name}"] = each.default
        body.append(f" _set_{name}(self, {said})")
        if each.init:
            given[bool(each.kw_only)].append(_parameter(each))
    if hasattr(kind, "__post_init__"):
        body.append(" self.__post_init__()")
    parameters = ", ".join(["self", *given[False], *(["*", *given[True]] if given[True] else ())])
    exec(f"def __init__({parameters}):\n" + "\n".join(body or [" pass"]), scope)  # noqa: S102 (the fields of a class)
    init = scope["__init__"]
    init.__qualname__ = f"{kind.__qualname__}.__init__"
    init.__annotations__ = {each.name: each.type for each in fields(kind) if each.init} | {"return": None}
    return cast("Method", init)


def _parameter(each: Field[Any]) -> str:
    if each.default is not MISSING:
        return f"{each.name}=_default_{each.name}"
    return each.name if each.default_factory is MISSING else f"{each.name}=_unset"


def _repr(self: Any) -> str:
    shown = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _equality(kind: Any) -> dict[str, Method]:
    compared = _reader([each.name for each in fields(kind) if each.compare])
    hashed = _reader([each.name for each in fields(kind) if (each.compare if each.hash is None else each.hash)])

    def equal(self: object, other: object) -> bool:
        return compared(self) == compared(other) if type(other) is type(self) else NotImplemented

    def hash_(self: object) -> int:
        return hash(hashed(self))

    return {"__eq__": equal, "__hash__": hash_}


def _reader(names: list[str]) -> Method:
    """Give what reads these fields, as a tuple, so that what is the same object counts as equal."""
    if len(names) > 1:
        return attrgetter(*names)

    def read(self: object) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in names])

    return read


def _held(kind: Any) -> dict[str, Method]:
    names = frozenset(each.name for each in fields(kind))

    def set_(self: object, name: str, value: object) -> None:
        if type(self) is kind or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(kind, self).__setattr__(name, value)

    def delete(self: object, name: str) -> None:
        if type(self) is kind or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(kind, self).__delattr__(name)

    return {"__setattr__": set_, "__delattr__": delete}


def _state(self: Any) -> list[object]:
    return [getattr(self, each.name) for each in fields(self)]


def _restore(self: Any, state: list[object]) -> None:
    for each, kept in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, kept)
