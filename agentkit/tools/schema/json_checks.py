"""The keywords of JSON Schema as checks of values.

A check takes a value that `json.loads` could have made, and returns what is wrong with it. `json_schema` makes the
checks of a schema once; `Node` is one part of it. The meaning is that of draft 2020-12.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias, cast

from pydantic_core import InitErrorDetails, PydanticCustomError

from agentkit.core.json import encode
from agentkit.tools.schema.patterns import Pattern

_MOST_STEPS = 100_000
_DEEPEST = 150
_MOST_FAULTS = 20
_PER_STEP = 100

Where: TypeAlias = tuple[str | int, ...]
Check: TypeAlias = Callable[[Any, "Checking"], "list[Fault]"]


class TooComplex(Exception):
    """A value takes too many steps to check."""


class Fault(NamedTuple):
    """What is wrong with a part of a value, in pydantic's terms, and its place in the value."""

    where: Where
    kind: str | PydanticCustomError
    value: object
    context: Mapping[str, Any] = {}

    def details(self) -> InitErrorDetails:
        return InitErrorDetails(type=self.kind, loc=self.where, input=self.value, ctx=dict(self.context))


class Checking:
    """One value while it is checked: the steps so far, and what is known of its parts.

    `whole` has the ids of numbers such as `1.0` that are to be integers.
    """

    __slots__ = ("depth", "known", "steps", "whole")

    def __init__(self) -> None:
        self.steps = self.depth = 0
        self.known: dict[tuple[int, int], list[Fault]] = {}
        self.whole: set[int] = set()

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > _MOST_STEPS:
            raise TooComplex


class Node:
    """A part of a schema: its checks, which are added once all parts are known, as parts refer to one another.

    Attributes:
        checks: The checks; a value that none faults fits.
        never: Whether no value fits.
        shared: Whether several parts refer to it, so that what it says of a value is kept.
        partial: Whether a part of it is not enforced, so that a value without faults may not fit.
    """

    __slots__ = ("checks", "never", "partial", "shared")

    def __init__(self, *, never: bool = False) -> None:
        self.checks: list[Check] = []
        self.never = never
        self.shared = self.partial = False

    def faults(self, value: Any, checking: Checking) -> list[Fault]:
        """Return what is wrong with a value."""
        if self.never:
            return [Fault((), PydanticCustomError("nothing_allowed", "No value is allowed here"), value)]
        if not self.checks:
            return []
        key = (id(self), id(value))
        if self.shared and key in checking.known:
            return checking.known[key]
        checking.spend(1)
        checking.depth += 1
        if checking.depth > _DEEPEST:
            raise TooComplex
        faults = [fault for check in self.checks for fault in check(value, checking)][:_MOST_FAULTS]
        checking.depth -= 1
        if self.shared:
            checking.known[key] = faults
        return faults

    def faults_at(self, place: str | int, value: Any, checking: Checking) -> list[Fault]:
        """Return what is wrong with a part of a value."""
        return [fault._replace(where=(place, *fault.where)) for fault in self.faults(value, checking)]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: object) -> bool:
    return is_number(value) and (type(value) is int or cast("float", value).is_integer())


# The types, and the errors of pydantic that say that a value has another one.
TYPES: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "string": (lambda value: isinstance(value, str), "string_type"),
    "integer": (is_integer, "int_type"),
    "number": (is_number, "float_type"),
    "boolean": (lambda value: isinstance(value, bool), "bool_type"),
    "null": (lambda value: value is None, "none_required"),
    "array": (lambda value: isinstance(value, list), "list_type"),
    "object": (lambda value: isinstance(value, dict), "dict_type"),
}


_OTHER_TYPE = frozenset([error for _, error in TYPES.values()])


def of_type(names: Sequence[str]) -> Check:
    known = [(name, *TYPES[name]) for name in names]

    def check(value: Any, checking: Checking) -> list[Fault]:
        for name, fits, _ in known:
            if fits(value):
                if name == "integer" and type(value) is float:
                    checking.whole.add(id(value))
                return []
        return [Fault((), "int_from_float" if error == "int_type" and type(value) is float else error, value)
                for _, _, error in known]  # fmt: skip

    return check


def canonical(value: object, checking: Checking) -> object:
    """Return what is equal for values that JSON Schema takes as equal: 1 and 1.0 are, 1 and true are not."""
    checking.spend(1)
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return "object", frozenset([(name, canonical(item, checking)) for name, item in items])
    if isinstance(value, list):
        return "array", tuple([canonical(item, checking) for item in cast("list[object]", value)])
    return (type(value), value) if isinstance(value, bool | str) else value


def one_of_values(allowed: Sequence[object]) -> Check:
    known = {canonical(value, Checking()) for value in allowed}
    shown = {"allowed": encode(allowed).decode()}

    def check(value: Any, checking: Checking) -> list[Fault]:
        if canonical(value, checking) in known:
            return []
        return [Fault((), PydanticCustomError("enum", "Input should be one of {allowed}", shown), value)]

    return check


def number(kind: str, name: str, fits: Callable[[Any, Any], bool], limit: float) -> Check:
    def check(value: Any, _: Checking) -> list[Fault]:
        return [] if not is_number(value) or fits(value, limit) else [Fault((), kind, value, {name: limit})]

    return check


def is_multiple(value: float, step: float) -> bool:
    if type(value) is int and type(step) is int:
        return value % step == 0
    # In decimals, as they are written: 0.3 is a multiple of 0.1.
    return _fraction(value) % _fraction(step) == 0


def _fraction(value: float) -> Fraction:
    return Fraction(value) if type(value) is int else Fraction(repr(value))


def length(of: type, kind: str, limit: int, context: Mapping[str, Any], fits: Callable[[int, int], bool]) -> Check:
    def check(value: Any, _: Checking) -> list[Fault]:
        if not isinstance(value, of) or fits(size := len(cast("list[object]", value)), limit):
            return []
        shown = context if of is str else {**context, "actual_length": size}
        return [Fault((), kind, value, shown)]

    return check


def matches(pattern: Pattern, text: str) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        if not isinstance(value, str) or found(pattern, value, checking):
            return []
        return [Fault((), "string_pattern_mismatch", value, {"pattern": text})]

    return check


def found(pattern: Pattern, text: str, checking: Checking) -> bool:
    checking.spend(len(text) * pattern.size // _PER_STEP)
    return pattern.matches(text)


def unique(value: Any, checking: Checking) -> list[Fault]:
    if not isinstance(value, list):
        return []
    items = cast("list[object]", value)
    if len({canonical(item, checking) for item in items}) == len(items):
        return []
    return [Fault((), PydanticCustomError("unique_items", "Items should be unique"), items)]


def items(first: Sequence[Node], rest: Node | None) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        faults: list[Fault] = []
        for at, item in enumerate(cast("list[object]", value) if isinstance(value, list) else ()):
            node = first[at] if at < len(first) else rest
            if node is None:
                break
            faults += node.faults_at(at, item, checking)
        return faults

    return check


def contains(node: Node, least: int, most: int | None) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        if not isinstance(value, list):
            return []
        values = cast("list[object]", value)
        fitting = sum(not node.faults(item, checking) for item in values)
        if fitting >= least and (most is None or fitting <= most or node.partial):
            return []
        text = "{fitting} items fit what should be contained; {least} to {most} should"
        shown = {"fitting": fitting, "least": least, "most": "any number" if most is None else most}
        return [Fault((), PydanticCustomError("contains", text, shown), values)]

    return check


def properties(known: Mapping[str, Node], patterns: Sequence[tuple[Pattern, Node]], others: Node | None) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        faults: list[Fault] = []
        for name, item in cast("dict[str, object]", value).items() if isinstance(value, dict) else ():
            node = known.get(name)
            nodes = [] if node is None else [node]
            nodes += [inner for pattern, inner in patterns if found(pattern, name, checking)]
            if nodes:
                faults += [fault for inner in nodes for fault in inner.faults_at(name, item, checking)]
            elif others is not None and others.never:
                faults.append(Fault((name,), "extra_forbidden", item))
            elif others is not None:
                faults += others.faults_at(name, item, checking)
        return faults

    return check


def property_names(node: Node) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        names = cast("dict[str, object]", value) if isinstance(value, dict) else ()
        return [fault for name in names for fault in node.faults_at(name, name, checking)]

    return check


def required(names: Sequence[str]) -> Check:
    def check(value: Any, _: Checking) -> list[Fault]:
        if not isinstance(value, dict):
            return []
        return [Fault((name,), "missing", cast("object", value)) for name in names if name not in value]

    return check


def dependent(name: str, node: Node) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        return node.faults(value, checking) if isinstance(value, dict) and name in value else []

    return check


def dependent_required(name: str, names: Sequence[str]) -> Check:
    missing = required(names)

    def check(value: Any, checking: Checking) -> list[Fault]:
        return missing(value, checking) if isinstance(value, dict) and name in value else []

    return check


def any_of(nodes: Sequence[Node]) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        failures: list[list[Fault]] = []
        for node in nodes:
            faults = node.faults(value, checking)
            if not faults:
                return []
            failures.append(faults)
        return _closest(failures)

    return check


def one_of(nodes: Sequence[Node]) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        failures = [faults for node in nodes if (faults := node.faults(value, checking))]
        fitting = len(nodes) - len(failures)
        if not fitting:
            return _closest(failures)
        if fitting == 1 or any(node.partial for node in nodes):
            return []
        text = "Input should fit exactly one of the schemas of oneOf, and fits {fitting}"
        return [Fault((), PydanticCustomError("one_of", text, {"fitting": fitting}), value)]

    return check


def _closest(failures: list[list[Fault]]) -> list[Fault]:
    """Return the faults of the branches that are at least of the value's type; of all if none is."""
    close = [faults for faults in failures if not any(not where and kind in _OTHER_TYPE for where, kind, *_ in faults)]
    return [fault for faults in (close or failures)[:_MOST_FAULTS] for fault in faults]


def not_(node: Node) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        if node.partial or node.faults(value, checking):
            return []
        return [Fault((), PydanticCustomError("not", "Input should not fit the schema of not"), value)]

    return check


def conditional(condition: Node, then: Node, otherwise: Node) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        if condition.faults(value, checking):
            return otherwise.faults(value, checking)
        faults = then.faults(value, checking)
        return [] if condition.partial and not otherwise.faults(value, checking) else faults

    return check


def nullable(checks: Sequence[Check]) -> Check:
    def check(value: Any, checking: Checking) -> list[Fault]:
        return [] if value is None else [fault for inner in checks for fault in inner(value, checking)]

    return check
