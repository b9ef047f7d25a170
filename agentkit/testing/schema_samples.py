"""Sample values for JSON schemas; `EveryTool` calls tools with them.

Values have a number, so that a list of unique items gets enough of them. Recursive schemas are tried with a growing
limit of depth. Regular expressions are not solved: `pattern` takes an example from the schema, or a common text.
"""

import json
import re
import string
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from math import ceil, floor
from typing import Any, TypeAlias, cast

from agentkit.core.errors import ConfigurationError

Schema: TypeAlias = Mapping[str, Any]

_REFERENCE = re.compile(r"#/(\$defs|definitions)/(.+)")
_MAX_DEPTH = 12
_MAX_TRIES = 1000
_PER_BRANCH = 50
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_TIGHTER: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(_LOWER_BOUNDS, max),
    **dict.fromkeys(_UPPER_BOUNDS, min),
}
_FIRST_NUMBER = 3
_NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
_UUID = 0x12345678
_IPV4 = int(IPv4Address("192.0.2.1"))
_IPV6 = int(IPv6Address("2001:db8::1"))
_CHARACTERS = string.ascii_letters + string.digits
_LONGEST = 40


def sample(schema: Schema) -> Any:
    """Return a value that fits a JSON schema; the same schema always gives the same value.

    Optional properties are included, as far as recursion allows. Supported are types, `enum`, `const`, bounds, lengths,
    `multipleOf`, the usual formats, arrays and tuples, `uniqueItems`, objects and additional properties, references,
    `anyOf`, `oneOf` and `allOf`. For a `pattern`, the value is one of the schema's `examples`, its `default`, or a
    common text that happens to match.

    Args:
        schema: The schema, such as `tool.spec.parameters`.

    Raises:
        ConfigurationError: If no value is found.
    """
    failure = ConfigurationError(f"the schema refers to itself without end, so it has no sample: {_excerpt(schema)}")
    for max_depth in range(_MAX_DEPTH):
        try:
            return _Samples(schema, max_depth).value(schema, 0, 0)
        except _TooDeepError:
            continue
        except ConfigurationError as error:  # deeper values may fit
            failure = error
    raise failure


def _excerpt(schema: Any) -> str:
    return json.dumps(schema)[:200]


class _TooDeepError(Exception):
    """References lead deeper than the limit."""


class _Samples:
    """Samples for the parts of one schema, by number; `depth` counts the references that were followed."""

    def __init__(self, root: Schema, max_depth: int) -> None:
        self.root = root
        self.max_depth = max_depth

    def value(self, schema: Any, number: int, depth: int) -> Any:
        if not isinstance(schema, Mapping):
            return _text({}, number)
        expanded = self._expand(cast("Schema", schema), depth)
        depth += expanded is not schema
        if "const" in expanded:
            return expanded["const"]
        if values := expanded.get("enum"):
            return values[number % len(values)]
        if values is not None:
            raise ConfigurationError("the schema has an enum without values, so it has no sample")
        if branches := _branches(expanded):
            return self._branch(branches, number, depth)
        return self._typed(expanded, number, depth)

    def _typed(self, schema: Schema, number: int, depth: int) -> Any:
        default = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match schema.get("type", default):
            case "string" if schema.get("contentMediaType") == "application/json":
                return json.dumps(self.value(schema.get("contentSchema"), number, depth))
            case "string":
                return _text(schema, number)
            case "integer" | "number" as kind:
                return _number(schema, number, is_integer=kind == "integer")
            case "array":
                return self._array(schema, number, depth)
            case "object":
                return self._object(schema, number, depth)
            case "boolean" | "null" as kind:
                return number % 2 == 0 if kind == "boolean" else None
            case kind:
                raise ConfigurationError(f"JSON Schema has no type {kind!r}")

    def _expand(self, schema: Schema, depth: int) -> Schema:
        """Merge what `$ref` and `allOf` name into the schema."""
        parts: list[Schema] = [*schema.get("allOf", ())]
        if "$ref" in schema:
            parts.append(self._definition(schema["$ref"]))
        if not parts:
            return schema
        if depth > self.max_depth:
            raise _TooDeepError
        own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        return _merge([*[self._expand(part, depth + 1) for part in parts], own])

    def _definition(self, reference: str) -> Schema:
        match = _REFERENCE.fullmatch(reference)
        definition = self.root.get(match[1], {}).get(match[2]) if match else None
        if definition is None:
            raise ConfigurationError(f"the schema has no definition for {reference!r}")
        return cast("Schema", definition)

    def _branch(self, branches: Sequence[Any], number: int, depth: int) -> Any:
        """Return a value of the first branch that has one. Other branches come first for numbers beyond 50."""
        first, number = divmod(number, _PER_BRANCH)
        first %= len(branches)
        failure: Exception = _TooDeepError()
        for branch in (*branches[first:], *branches[:first]):
            try:
                return self.value(branch, number, depth)
            except (_TooDeepError, ConfigurationError) as error:
                failure = error
        raise failure

    def _array(self, schema: Schema, number: int, depth: int) -> list[Any]:
        prefix: Sequence[Any] = schema.get("prefixItems", ())
        required = max(schema.get("minItems", 0), len(prefix))
        count = min(max(required, schema.get("items") is not False), schema.get("maxItems", sys.maxsize))
        items: list[Any] = []
        for at in range(count):
            item = prefix[at] if at < len(prefix) else schema.get("items")
            try:
                values = (self.value(item, number + at + turn, depth) for turn in range(_MAX_TRIES))
                items.append(next(value for value in values if value not in items or not schema.get("uniqueItems")))
            except StopIteration:
                raise ConfigurationError(f"{_excerpt(item)} has fewer than {count} different values") from None
            except _TooDeepError:
                if at < required:
                    raise
        return items

    def _object(self, schema: Schema, number: int, depth: int) -> dict[str, Any]:
        required: Sequence[str] = schema.get("required", ())
        properties: Schema = schema.get("properties", {})
        values: dict[str, Any] = {}
        for name in (*properties, *[name for name in required if name not in properties]):
            try:
                values[name] = self.value(properties.get(name), number, depth)
            except _TooDeepError:
                if name in required:
                    raise
        self._add_properties(schema, values, number, depth)
        return values

    def _add_properties(self, schema: Schema, values: dict[str, Any], number: int, depth: int) -> None:
        """Add properties of any name: as many as the schema requires, and one if an object has no others."""
        pattern, additional = next(iter(schema.get("patternProperties", {}).items()), ("", None))
        if not pattern:
            additional = schema.get("additionalProperties", True)
        required: int = schema.get("minProperties", 0)
        wanted = max(required, 0 if values or additional in (True, False) else 1)
        names = {"type": "string", "pattern": pattern} if pattern else schema.get("propertyNames")
        for at in range(number, number + _MAX_TRIES):
            if len(values) >= wanted:
                return
            try:
                name = str(at + 1 if names is None else self.value(names, at, depth))
                values.setdefault(name, self.value(additional, at, depth))
            except _TooDeepError:
                if len(values) < required:
                    raise
                return
        raise ConfigurationError(f"fewer than {wanted} property names fit {_excerpt(schema)}")


def _branches(schema: Schema) -> list[Any]:
    """Return the schemas of which one has to fit; each has what stands beside `anyOf`, `oneOf` or a list of types."""
    for key in ("anyOf", "oneOf"):
        if key in schema:
            own = {name: value for name, value in schema.items() if name != key}
            branches: list[Schema | bool] = schema[key]
            return [branch if isinstance(branch, bool) else _merge([own, branch]) for branch in branches]
    kinds: str | list[str] = schema.get("type", "")
    return [] if isinstance(kinds, str) else [{**schema, "type": kind} for kind in kinds]


def _merge(schemas: Sequence[Schema]) -> Schema:
    """Return one schema for what several require together."""
    merged: dict[str, Any] = {}
    for schema in schemas:
        for key, value in schema.items():
            merged[key] = _merge_keyword(key, merged[key], value) if key in merged else value
    return merged


def _merge_keyword(key: str, one: Any, other: Any) -> Any:
    if key in _TIGHTER:
        return _TIGHTER[key](one, other)
    match key:
        case "properties":
            return {**one, **other, **{name: _merge([one[name], other[name]]) for name in one if name in other}}
        case "required":
            return [*one, *other]
        case "enum":
            return [value for value in one if value in other]
        case _:
            return other


def _number(schema: Schema, number: int, *, is_integer: bool) -> int | float:
    """Return a number within the bounds: on the grid of `multipleOf` or of whole numbers, else by halving the range."""
    multiple = schema.get("multipleOf")
    low, above_low = _bound(schema, "minimum", "exclusiveMinimum", max)
    high, below_high = _bound(schema, "maximum", "exclusiveMaximum", min)
    step = Fraction(str(multiple or 1))
    if is_integer:
        step = Fraction(step.numerator)
    elif not multiple and low is not None and high is not None:
        if low > high or (low == high and (above_low or below_high)):
            raise ConfigurationError(f"no number fits {_excerpt(schema)}")
        return _plain(low + (high - low) / 2 ** (number + 1))
    elif not multiple:  # beside a large float, adding 1 makes no difference
        step = max([step, *[abs(bound) / 2**20 for bound in (low, high) if bound is not None]])
    first = None if low is None else floor(low / step) + 1 if above_low else ceil(low / step)
    last = None if high is None else ceil(high / step) - 1 if below_high else floor(high / step)
    if first is None:
        at = _FIRST_NUMBER + number if last is None else min(_FIRST_NUMBER, last) - number
    elif last is None:
        at = first + number
    elif first <= last:
        at = first + number % (last - first + 1)
    else:
        raise ConfigurationError(f"no number fits {_excerpt(schema)}")
    return _plain(at * step)


def _bound(schema: Schema, name: str, exclusive: str, tighter: Callable[[Any], Any]) -> tuple[Fraction | None, bool]:
    """Return the tighter of two bounds, and whether it is exclusive."""
    bounds = {key: Fraction(str(schema[key])) for key in (name, exclusive) if type(schema.get(key)) in (int, float)}
    if not bounds:
        return None, False
    bound = tighter(bounds.values())
    return bound, bounds.get(exclusive) == bound


def _plain(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def _text(schema: Schema, number: int) -> str:
    shortest: int = schema.get("minLength", 0)
    longest: int = schema.get("maxLength", sys.maxsize)
    if "pattern" in schema:
        own = tuple([text for text in (*schema.get("examples", ()), schema.get("default")) if isinstance(text, str)])
        texts = _matching(schema["pattern"], own, shortest, longest)
        return texts[number % len(texts)]
    word = f"text{number or ''}"
    if text := _format_texts(number, word).get(schema.get("format", "")):
        return text
    if len(word) > longest:
        word = "".join([string.ascii_lowercase[number // 26**at % 26] for at in range(longest)])
    return word.ljust(shortest, "x")


@lru_cache
def _matching(pattern: str, own: tuple[str, ...], shortest: int, longest: int) -> list[str]:
    """Return the schema's own texts, formats, and repeated characters that match a pattern."""
    texts = [*own, "text", *[text for number in range(3) for text in _format_texts(number, "text").values()]]
    texts += [character * length for length in range(max(shortest, _LONGEST) + 1) for character in _CHARACTERS]
    try:
        matching = [text for text in texts if shortest <= len(text) <= longest and re.search(pattern, text)]
    except re.error as error:
        raise ConfigurationError(f"Python cannot read the pattern {pattern!r}: {error}") from None
    if not matching:
        raise ConfigurationError(
            f"no common text matches the pattern {pattern!r}. Add one to the schema, Field(pattern=…, examples=[…]), "
            "or give the argument: EveryTool(arguments={tool: {parameter: value}})"
        )
    return matching


def _format_texts(number: int, word: str) -> dict[str, str]:
    """Return a text for every format."""
    day, ipv4, ipv6 = _NOON + timedelta(number), IPv4Address(_IPV4 + number), IPv6Address(_IPV6 + number)
    time = (_NOON + timedelta(seconds=number)).time()
    return {
        "date": day.date().isoformat(),
        "date-time": day.isoformat().replace("+00:00", "Z"),
        "time": f"{time.isoformat()}Z",
        "duration": f"PT{number + 1}H",
        **{f"uuid{version}": f"{_UUID + number:08x}-1234-{version}123-8123-456789abcdef" for version in "1345678"},
        "uuid": f"{_UUID + number:08x}-1234-4123-8123-456789abcdef",
        **dict.fromkeys(("email", "idn-email"), f"{word}@example.com"),
        "name-email": f"Ann <{word}@example.com>",
        "hostname": f"{word}.example.com",
        "uri": f"https://example.com/{word}",
        **dict.fromkeys(("ipv4", "ipvanyaddress"), str(ipv4)),
        **dict.fromkeys(("ipv4network", "ipv4interface", "ipvanynetwork", "ipvanyinterface"), f"{ipv4}/32"),
        "ipv6": str(ipv6),
        **dict.fromkeys(("ipv6network", "ipv6interface"), f"{ipv6}/128"),
        **dict.fromkeys(("base64", "base64url"), urlsafe_b64encode(word.encode()).decode()),
        "json-string": json.dumps(word),
        "file-path": sys.executable,
        "directory-path": ".",
    }
