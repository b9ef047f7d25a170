r"""Values as plain JSON data, and back: what sessions, journals, cassettes and durable runs keep.

`write` turns a value into dicts, lists and plain values. A frozen value of agentkit becomes a dict of the fields that
differ from their defaults; a message also has its `role`. Fields that do not count in comparisons are left out.

`read` takes the type. It follows the annotations of the class and checks every field, because a file may have been
edited. Fields that it does not know, as of a newer version, are ignored.

Data without a type, such as fields that only one endpoint knows, stays as it is. A dict with one key that begins with
`$` stands for values with no JSON form, or that JSON libraries read in different ways:

    {"$text": "\ud83d"}         a string with half a surrogate pair
    {"$int": "0x8000…"}         a whole number of more than 64 bits
    {"$float": "nan"}           a number that is not finite
    {"$tuple": […]}             a tuple
    {"$dict": [[key, value]]}   a dict with keys that are no strings, or one that looks like a mark
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from math import isfinite
from types import UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from agentkit.core import errors
from agentkit.core.errors import AgentkitError
from agentkit.core.json import excerpt, list_of, object_of, whole
from agentkit.core.messages import AssistantMessage, DeveloperMessage, SystemMessage, ToolMessage, UserMessage

T = TypeVar("T")

_ROLES: Mapping[object, str] = {
    SystemMessage: "system",
    DeveloperMessage: "developer",
    UserMessage: "user",
    AssistantMessage: "assistant",
    ToolMessage: "tool",
}
_WORD = 2**63


def write(value: object) -> object:
    """Write a value so that `read` gets the same one; `ValueError` for parts that are no data and not agentkit's."""
    if not is_dataclass(value):
        return _write_plain(value)
    role = _ROLES.get(type(value))
    return ({} if role is None else {"role": role}) | differences(value)


def differences(value: object, base: object = None) -> dict[str, object]:
    """Write the fields in which a dataclass differs from one of the same class, or else from the defaults."""
    cls: Any = type(value)
    changed: dict[str, object] = {}
    for name, (kind, default) in _fields_of(cls).items():
        own, other = getattr(value, name), getattr(base, name, default)
        if own == other:
            continue
        if base is not None and get_origin(kind) is tuple and len(own) == len(other):
            changed[name] = [differences(*pair) for pair in zip(own, other, strict=True)]
        elif isinstance(own, tuple | frozenset):
            items = cast("tuple[object, ...] | frozenset[object]", own)
            changed[name] = [write(item) for item in (items if isinstance(items, tuple) else sorted(items, key=repr))]
        else:
            changed[name] = write(own)
    return changed


@cache
def _fields_of(cls: type[Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields that are kept: the type of each, and its default."""
    hints = get_type_hints(cls)
    kept = [field for field in fields(cls) if field.init and field.compare]
    defaults = [field.default if field.default_factory is MISSING else field.default_factory() for field in kept]
    return {field.name: (hints[field.name], default) for field, default in zip(kept, defaults, strict=True)}


def _write_plain(value: object) -> object:  # noqa: PLR0911 (a table)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if whole(value) == value else {"$text": value.encode("unicode_escape").decode("ascii")}
    if isinstance(value, int):
        return value if -_WORD <= value < _WORD else {"$int": hex(value)}
    if isinstance(value, float):
        return value if isfinite(value) else {"$float": repr(value)}
    if isinstance(value, list):
        return [_write_plain(item) for item in list_of(cast("object", value))]
    if isinstance(value, tuple):
        return {"$tuple": [_write_plain(item) for item in cast("tuple[object, ...]", value)]}
    if isinstance(value, Mapping):
        data = cast("Mapping[object, object]", value)
        if all(isinstance(key, str) and whole(key) == key for key in data) and not _is_mark(data):
            return {key: _write_plain(item) for key, item in data.items()}
        return {"$dict": [[_write_plain(key), _write_plain(item)] for key, item in data.items()]}
    raise ValueError(f"a value of type {type(value).__name__}")


def read(kind: type[T], data: object, base: T | None = None, where: str = "the value") -> T:
    """Read what `write`, or `differences` from `base`, wrote; `ValueError` if it is not of that type.

    Plain data of any shape has the type `object`. Errors call the value `where`.
    """
    try:
        value: T = _read(kind, data, base, where)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    return value


def _read(kind: Any, data: object, base: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _read_fields(kind, data, base, where)
    origin: Any = get_origin(kind)
    options = get_args(kind)
    if origin in (Union, UnionType):
        return _read_union(options, data, where)
    if origin is tuple or origin is frozenset:
        return cast("Any", origin)(_read_items(options[0], data, base if origin is tuple else None, where))
    value = _as_named(kind, _read_plain(data))
    fits = value in options if origin is Literal else isinstance(value, origin or kind)
    if kind is float:
        fits = isinstance(value, int | float)
    if not fits or (kind in (int, float) and isinstance(value, bool)):
        raise ValueError(f"{where} cannot be {excerpt(value)}")
    return value


def _as_named(kind: Any, value: object) -> object:
    """Return plain data as the `NamedTuple` that it was."""
    if isinstance(kind, type) and issubclass(kind, tuple):
        return cast("Any", kind)(*cast("tuple[object, ...]", value))
    return value


def _read_union(options: tuple[Any, ...], data: object, where: str) -> Any:
    """Read the first of several types that fits."""
    fault = ""
    for option in options:
        try:
            return _read(option, data, None, where)
        except ValueError as error:
            fault = str(error)
    raise ValueError(fault)


def _read_items(kind: Any, data: object, bases: Any, where: str) -> list[Any]:
    items = list_of(data)
    if items is not data or (bases and len(bases) != len(items)):
        raise ValueError(f"{where} must be a list{f' of {len(bases)}' if bases else ''}, not {excerpt(data)}")
    return [
        _read(kind, item, base, f"{where}[{at}]")
        for at, (item, base) in enumerate(zip(items, bases or [None] * len(items), strict=True))
    ]


def _read_fields(cls: Any, data: object, base: Any, where: str) -> Any:
    written = object_of(data)
    known = {name: field for name, field in _fields_of(cls).items() if name in written}
    missing = [name for name, (_, default) in _fields_of(cls).items() if default is MISSING and name not in written]
    if written is not data or (base is None and missing) or written.get("role") not in (None, _ROLES.get(cls)):
        raise ValueError(f"{where} cannot be {excerpt(data)}")
    values = {
        name: _read(kind, written[name], None if base is None else getattr(base, name), f"{where}.{name}")
        for name, (kind, _) in known.items()
    }
    return cls(**values) if base is None else replace(base, **values)


def _read_plain(written: object) -> object:  # noqa: PLR0911 (a table)
    if isinstance(written, list):
        return [_read_plain(item) for item in list_of(cast("object", written))]
    if not isinstance(written, dict):
        return written
    data = object_of(cast("object", written))
    if not _is_mark(data):
        return {key: _read_plain(item) for key, item in data.items()}
    match next(iter(data.items())):
        case "$text", str(value):
            return value.encode("ascii").decode("unicode_escape")
        case "$int", str(value):
            return int(value, 16)
        case "$float", ("inf" | "-inf" | "nan") as value:
            return float(cast("str", value))
        case "$tuple", value:
            return tuple([_read_plain(item) for item in list_of(value)])
        case "$dict", value:
            return {_read_plain(key): _read_plain(item) for key, item in map(list_of, list_of(value))}
        case _:
            raise ValueError(f"{excerpt(data)} is not known to this version")


def _is_mark(data: Mapping[Any, object]) -> bool:
    key = next(iter(data)) if len(data) == 1 else None
    return isinstance(key, str) and key.startswith("$")


def write_error(error: BaseException) -> dict[str, object]:
    """Write an error: one of agentkit's with its fields, another one as its type and text."""
    cls: Any = type(error)
    name = cls.__name__
    if getattr(errors, name, None) is not cls:
        return {"type": "AgentkitError", "message": write(f"{name}: {error}")}
    kept: dict[str, object] = {}
    for field in sorted(_error_fields(cls).keys() & vars(error).keys()):
        value = getattr(error, field)
        items = cast("tuple[object, ...]", value)
        try:
            kept[field] = [write(item) for item in items] if isinstance(value, tuple) else write(value)
        except ValueError:
            continue  # other exceptions, or what a caller put there
    return {"type": name, "message": write(str(error)), **kept}


def read_error(data: object) -> AgentkitError:
    """Read what `write_error` wrote, or raise `ValueError`; an error of a newer version is an `AgentkitError`."""
    written = object_of(data)
    cls: Any = getattr(errors, str(written.get("type")), None)
    if not (isinstance(cls, type) and issubclass(cls, AgentkitError)):
        cls = AgentkitError
    error: AgentkitError = cls.__new__(cls, read(str, written.get("message"), where="the error's message"))
    for name, kind in _error_fields(cls).items():
        if name in written:
            setattr(error, name, read(kind, written[name], where=f"the error's {name}"))
    return error


@cache
def _error_fields(cls: type[BaseException]) -> dict[str, Any]:
    """Return the types of an error's fields, by the annotations of the class and of its `__init__`."""
    hints = get_type_hints(cls.__init__) | get_type_hints(cls)
    return {name: kind for name, kind in hints.items() if name not in ("message", "return", "sent")}
