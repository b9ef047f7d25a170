"""Functions from source, JSON schemas in short, and values that fit them."""

import collections.abc
import typing
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pydantic
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Schema = dict[str, Any]
INT: Schema = {"type": "integer"}
NUM: Schema = {"type": "number"}
STR: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
_FORMATS = {"date": st.dates().map(str), "uuid": st.uuids().map(str)}


def named(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Give each row of a table to a test, under the name in its first column."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def define_in(module: dict[str, Any], source: str, **names: object) -> Callable[..., object]:
    """Make a function of source that names what a test module has; no type checker needs to like it."""
    scope = {**vars(typing), **vars(collections.abc), "pydantic": pydantic, "Field": pydantic.Field}
    scope |= {"date": date, "Decimal": Decimal, "Path": Path, **module, **names}
    exec(source, scope)  # noqa: S102 (the source stands in the tests)
    return cast("Callable[..., object]", scope[source.rpartition("def ")[2].partition("(")[0]])


def values(schema: Schema, defs: Schema, depth: int = 0) -> SearchStrategy[Any]:  # noqa: C901, PLR0911 (one for each kind)
    """Make values that fit a schema, as far as the tests need it; deep inside, none that grow."""
    if "$ref" in schema:
        return st.deferred(lambda: values(defs[schema["$ref"].removeprefix("#/$defs/")], defs, depth + 1))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    if branches := schema.get("anyOf", schema.get("oneOf")):
        branches = [NULL] if depth > 3 and NULL in branches else branches
        return st.one_of([values(branch, defs, depth) for branch in branches])
    size = 0 if depth > 3 else 2
    match schema.get("type"):
        case "integer":
            most = schema.get("maximum", schema.get("exclusiveMaximum", 10**20 + 1) - 1)
            return st.integers(schema.get("minimum", -(10**20)), most)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            limits = {"min_size": schema.get("minLength", 0), "max_size": schema.get("maxLength", 5)}
            return _FORMATS.get(schema.get("format", ""), st.text(st.characters(exclude_categories=["Cs"]), **limits))
        case "array" if "prefixItems" in schema:
            return st.tuples(*[values(item, defs, depth + 1) for item in schema["prefixItems"]]).map(list)
        case "array":
            return st.lists(values(schema["items"], defs, depth + 1), max_size=min(size, schema.get("maxItems", 2)))
        case _ if "properties" in schema:
            fields = {name: values(field, defs, depth + 1) for name, field in schema["properties"].items()}
            required = {name: fields.pop(name) for name in schema.get("required", [])}
            return st.fixed_dictionaries(required, optional=fields)
        case _:
            inner = values(schema["additionalProperties"], defs, depth + 1)
            return st.dictionaries(st.text("ab", max_size=2), inner, max_size=size)
