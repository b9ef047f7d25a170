"""Values that fit a JSON schema."""

import json
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from math import ceil, floor
from typing import Any, TypeAlias, cast

from agentkit.core.errors import ConfigurationError
from agentkit.testing.regex_samples import matching

Schema: TypeAlias = Mapping[str, Any]

_REFERENCES = ("#/$defs/", "#/definitions/")
_DEEPEST = 12
_TRIES = 1000
_PER_BRANCH = 50
_HIGHEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LOWEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_USUAL = 3
_LARGE = 2**53
_NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
_ID = 0x12345678
_IPV4 = int(IPv4Address("192.0.2.1"))
_IPV6 = int(IPv6Address("2001:db8::1"))


def sample(schema: Schema) -> Any:
    """Make a value that fits a JSON schema, always the same one.

    Everything that the schema names is in it, also what is optional, as far as definitions do not go on without end.
    Followed are types, `enum`, `const`, bounds, lengths, `multipleOf`, `pattern`, the usual formats, arrays and tuples,
    `uniqueItems`, objects and their further properties, references, `anyOf`, `oneOf` and `allOf`.

    Args:
        schema: The schema, such as `tool.spec.parameters`.

    Raises:
        ConfigurationError: If no value is found.
    """
    failed = ConfigurationError(f"no value was found that ends: {json.dumps(schema)[:200]}")
    for deepest in range(_DEEPEST):
        try:
            return _Samples(schema, deepest).of(schema, 0, 0)
        except _TooDeepError:
            continue
        except ConfigurationError as error:  # further down there may be more values
            failed = error
    raise failed


class _TooDeepError(Exception):
    """References lead further down than is wanted."""


class _Samples:
    """Values for the parts of one schema. Of each there are several, by number, for lists without equal items."""

    def __init__(self, root: Schema, deepest: int) -> None:
        self.root = root
        self.deepest = deepest

    def of(self, schema: Any, number: int, depth: int) -> Any:  # noqa: PLR0911 (a table)
        if not isinstance(schema, Mapping) or not schema:
            return _text({}, number)
        schema = cast("Schema", schema)
        if "$ref" in schema:
            if depth > self.deepest:
                raise _TooDeepError
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            return self.of(_merged([self._definition(schema["$ref"]), rest]), number, depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return _one_of(schema["enum"], number)
        if "allOf" in schema:
            if depth > self.deepest:
                raise _TooDeepError
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            return self.of(_merged([*map(self._resolved, schema["allOf"]), rest]), number, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._any_of(schema, keyword, number, depth)
        return self._typed(schema, number, depth)

    def _definition(self, reference: str) -> Schema:
        for prefix in _REFERENCES:
            found = self.root.get(prefix.strip("#/"), {}).get(reference.removeprefix(prefix))
            if reference.startswith(prefix) and found is not None:
                return cast("Schema", found)
        raise ConfigurationError(f"the schema has no definition for {reference!r}")

    def _resolved(self, schema: Schema) -> Schema:
        for _ in range(_DEEPEST):
            if "$ref" not in schema:
                return schema
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema = _merged([self._definition(schema["$ref"]), rest])
        raise _TooDeepError

    def _any_of(self, schema: Schema, keyword: str, number: int, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key != keyword}
        given: list[Schema | bool] = schema[keyword]
        branches = [each if isinstance(each, bool) else _merged([rest, each]) for each in given]
        first, number = _branch(number, len(branches))
        for branch in (*branches[first:], *branches[:first]):
            try:
                return self.of(branch, number, depth)
            except _TooDeepError:
                continue
        raise _TooDeepError

    def _typed(self, schema: Schema, number: int, depth: int) -> Any:  # noqa: PLR0911 (a table)
        kind = schema.get("type")
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        if isinstance(kind, list):
            first, number = _branch(number, len(cast("list[str]", kind)))
            return self._typed({**schema, "type": kind[first]}, number, depth)
        match kind:
            case "string":
                return self._string(schema, number, depth)
            case "integer" | "number":
                return _number(schema, number, whole=kind == "integer")
            case "boolean":
                return number % 2 == 0
            case "null":
                return None
            case "array":
                return self._array(schema, number, depth)
            case "object":
                return self._object(schema, number, depth)
            case _:
                raise ConfigurationError(f"there is no type {kind!r} in JSON schema")

    def _string(self, schema: Schema, number: int, depth: int) -> str:
        if schema.get("contentMediaType") == "application/json":
            return json.dumps(self.of(schema.get("contentSchema"), number, depth))
        return _text(schema, number)

    def _array(self, schema: Schema, number: int, depth: int) -> list[Any]:
        fixed: Sequence[Any] = schema.get("prefixItems", ())
        most = schema.get("maxItems")
        least = max(schema.get("minItems", 0), len(fixed))
        if not least and schema.get("items") is not False:
            least = 1
        count = least if most is None else min(least, most)
        items: list[Any] = []
        for at in range(count):
            try:
                items.append(self._item(schema, fixed, items, number + at, depth))
            except _TooDeepError:
                if at < max(schema.get("minItems", 0), len(fixed)):
                    raise
        return items

    def _item(self, schema: Schema, fixed: Sequence[Any], items: list[Any], number: int, depth: int) -> Any:
        at = len(items)
        item = fixed[at] if at < len(fixed) else schema.get("items")
        if not schema.get("uniqueItems"):
            return self.of(item, number, depth)
        for turn in range(_TRIES):
            made = self.of(item, number + turn, depth)
            if made not in items:
                return made
        raise ConfigurationError(f"there are not {at + 1} different values of {json.dumps(item)[:200]}")

    def _object(self, schema: Schema, number: int, depth: int) -> dict[str, Any]:
        required: Sequence[str] = schema.get("required", ())
        properties: Schema = schema.get("properties", {})
        made: dict[str, Any] = {}
        for name in (*properties, *[each for each in required if each not in properties]):
            try:
                made[name] = self.of(properties.get(name), number, depth)
            except _TooDeepError:
                if name in required:
                    raise
        self._fill(schema, made, number, depth)
        return made

    def _fill(self, schema: Schema, made: dict[str, Any], number: int, depth: int) -> None:
        """Add further properties: as many as there must be, and one where they are all that there is."""
        pattern, inner = next(iter(schema.get("patternProperties", {}).items()), ("", None))
        more = schema.get("additionalProperties", True) if inner is None else inner
        least: int = schema.get("minProperties", 0)
        wanted = max(least, 0 if made or more in (True, False) else 1)
        names = {"type": "string", "pattern": pattern} if pattern else schema.get("propertyNames")
        for at in range(_TRIES):
            if len(made) >= wanted:
                return
            name = str(number + at + 1) if names is None else str(self.of(names, number + at, depth))
            try:
                made.setdefault(name, self.of(more, number + at, depth))
            except _TooDeepError:
                if len(made) < least:
                    raise
                return
        raise ConfigurationError(f"there are not {wanted} names for the properties of {json.dumps(schema)[:200]}")


def _branch(number: int, branches: int) -> tuple[int, int]:
    """Give a branch, and the number in it. Later ones are taken only where the first has not enough values."""
    first, number = divmod(number, _PER_BRANCH)
    return first % branches, number


def _one_of(values: Sequence[Any], number: int) -> Any:
    if not values:
        raise ConfigurationError("the schema has an enum that allows no value")
    return values[number % len(values)]


def _merged(schemas: Sequence[Schema]) -> Schema:
    """Give one schema for what several ask for together."""
    merged: dict[str, Any] = {}
    for schema in schemas:
        for key, value in schema.items():
            merged[key] = _together(key, merged[key], value) if key in merged else value
    return merged


def _together(key: str, one: Any, other: Any) -> Any:
    if key in _HIGHEST:
        return max(one, other)
    if key in _LOWEST:
        return min(one, other)
    match key:
        case "properties":
            both = {name: _merged([one[name], other[name]]) for name in one if name in other}
            return {**one, **other, **both}
        case "required" | "allOf":
            return [*one, *other]
        case "enum":
            return [each for each in one if each in other]
        case _:
            return other


def _number(schema: Schema, number: int, *, whole: bool) -> int | float:
    """Give a number in its bounds, a whole one or a multiple if there is any."""
    given = schema.get("multipleOf")
    step = Fraction(str(given)) if given else Fraction(1)
    if whole:
        step = Fraction(step.numerator)
    low, above = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, below = _bound(schema, "maximum", "exclusiveMaximum", min)
    if not whole and not given:  # a float as large as this has no 1 to add
        step = max([step, *[abs(each) / 2**20 for each in (low, high) if each is not None and abs(each) > _LARGE]])
    first = None if low is None else floor(low / step) + 1 if above else ceil(low / step)
    last = None if high is None else ceil(high / step) - 1 if below else floor(high / step)
    if low is not None and high is not None and first is not None and last is not None:
        count = last - first + 1
        if number < count or (count > 0 and (whole or given)):
            return _plain((first + number % count) * step)
        between = low + (high - low) / 2 ** (number + 1)
        if whole or given or low > high or (low == high and (above or below)):
            raise ConfigurationError(f"there is no number for {json.dumps(schema)[:200]}")
        return _plain(between)
    if first is None:
        first = _USUAL if last is None or last >= _USUAL + number else last - 2 * number
    return _plain((first + number) * step)


def _bound(schema: Schema, name: str, exclusive: str, tighter: Callable[[Any], Any]) -> tuple[Fraction | None, bool]:
    """Give the tighter of two bounds, and whether it is itself ruled out."""
    bounds = {each: Fraction(str(schema[each])) for each in (name, exclusive) if type(schema.get(each)) in (int, float)}
    if not bounds:
        return None, False
    bound = tighter(bounds.values())
    return bound, bounds.get(exclusive) == bound


def _plain(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def _text(schema: Schema, number: int) -> str:
    shortest: int = schema.get("minLength", 0)
    longest: int | None = schema.get("maxLength")
    if "pattern" in schema:
        return matching(schema["pattern"], shortest, longest, number)
    word = f"text{number or ''}"
    if made := _FORMATS.get(schema.get("format", "")):
        return made(number, word)
    if longest is not None and len(word) > longest:
        word = _letters(number, longest)
    return word + "x" * (shortest - len(word))


def _letters(number: int, length: int) -> str:
    """Give a word of so many letters; other numbers give other words, as far as there are any."""
    word = ""
    for _ in range(length):
        number, at = divmod(number, 26)
        word += chr(ord("a") + at)
    return word


def _uuid(version: str) -> Callable[[int, str], str]:
    return lambda number, _: f"{_ID + number:08x}-1234-{version}123-8123-456789abcdef"


_FORMATS: Mapping[str, Callable[[int, str], str]] = {
    "date": lambda number, _: (_NOON + timedelta(number)).date().isoformat(),
    "date-time": lambda number, _: (_NOON + timedelta(number)).isoformat().replace("+00:00", "Z"),
    "time": lambda number, _: (_NOON + timedelta(seconds=number)).time().isoformat() + "Z",
    "duration": lambda number, _: f"PT{number + 1}H",
    "uuid": _uuid("4"),
    **{f"uuid{version}": _uuid(version) for version in "1345678"},
    "email": lambda _, word: f"{word}@example.com",
    "idn-email": lambda _, word: f"{word}@example.com",
    "name-email": lambda _, word: f"Ann <{word}@example.com>",
    "hostname": lambda _, word: f"{word}.example.com",
    "uri": lambda _, word: f"https://example.com/{word}",
    "ipv4": lambda number, _: str(IPv4Address(_IPV4 + number)),
    "ipv6": lambda number, _: str(IPv6Address(_IPV6 + number)),
    "ipvanyaddress": lambda number, _: str(IPv4Address(_IPV4 + number)),
    **dict.fromkeys(
        ("ipv4network", "ipvanynetwork", "ipv4interface", "ipvanyinterface"),
        lambda number, _: f"{IPv4Address(_IPV4 + number)}/32",
    ),
    **dict.fromkeys(("ipv6network", "ipv6interface"), lambda number, _: f"{IPv6Address(_IPV6 + number)}/128"),
    **dict.fromkeys(("base64", "base64url"), lambda _, word: urlsafe_b64encode(word.encode()).decode()),
    "json-string": lambda _, word: json.dumps(word),
    "file-path": lambda _, __: sys.executable,
    "directory-path": lambda _, __: ".",
}
