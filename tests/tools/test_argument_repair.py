"""Repair: what models really send, repaired once, only where it failed, and reported."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_json

from agentkit.tools.argument_repair import NULL_LEFT_OUT, ArgumentRepair, match_tool_name, parse_arguments
from agentkit.tools.schema.signature import Arguments
from agentkit.tools.tool import Tool
from tests.strategies import any_text
from tests.tools.schema.values import named


class Filter(BaseModel):
    field: str
    limit: int = 5


@dataclass
class Box:
    filters: list[Filter]


def search(  # noqa: PLR0917 (one parameter for each kind of mistake)
    query: str = "",
    tags: list[str] | None = None,
    where: Filter | None = None,
    page: int = 1,
    sort: Literal["up", "down"] = "up",
    box: Box | None = None,
    code: Annotated[str, Field(max_length=4)] = "",
    more: Filter | list[int] | None = None,
    by_number: dict[int, str] | None = None,
) -> None: ...


def ping() -> None: ...


GIVEN = Tool.from_schema(
    search,
    name="search",
    description="",
    parameters={
        "type": "object",
        "properties": {
            "page": {"type": "integer"},
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "boolean"}]},
            "query": {"type": "string"},
        },
        "maxProperties": 2,
    },
).arguments
SEARCH, PING = Tool.of(search).arguments, Tool.of(ping).arguments
AGAIN = "decoded once more"
EMPTY = [("", "no arguments, read as an empty object")]

# What the model sends, what the function receives, and what is reported.
# fmt: off
CASES: list[tuple[str, Arguments, str, dict[str, Any], list[tuple[str, str]]]] = [
    ("code fence", SEARCH, '```json\n{"query": "a"}\n```', {"query": "a"}, [("", "code fence removed")]),
    ("code fence without a language", SEARCH, '  ```\n{"page": 2}```\n', {"page": 2}, [("", "code fence removed")]),
    ("double-encoded", SEARCH, to_json('{"query": "a"}').decode(), {"query": "a"}, [("", AGAIN)]),
    ("double-encoded in a fence", SEARCH, '```\n"{\\"page\\": 2}"\n```', {"page": 2}, [("", "code fence removed"), ("", AGAIN)]),
    ("fenced and double-encoded", SEARCH, to_json('```json\n{"page": 2}\n```').decode(), {"page": 2}, [("", AGAIN)]),
    ("code fence on one line", SEARCH, '```{"page": 2} ```', {"page": 2}, [("", "code fence removed")]),
    ("a given schema: a number in a text", GIVEN, '{"page": "5"}', {"page": 5}, [("page", AGAIN)]),
    ("a given schema: a list in a text", GIVEN, '{"tags": "[\\"a\\"]"}', {"tags": ["a"]}, [("tags", AGAIN)]),
    ("a given schema: a branch in a text", GIVEN, '{"tags": "true"}', {"tags": True}, [("tags", AGAIN)]),
    ("a given schema: a list for a text", GIVEN, '{"query": ["a"]}', {"query": '["a"]'}, [("query", "put into a text as JSON")]),
    ("a given schema: null", GIVEN, '{"query": null}', {}, [("query", NULL_LEFT_OUT)]),
    ("a given schema: half of a character", GIVEN, '{"query": "\ud83d"}', {"query": "\ufffd"}, [("", "half a character joined or replaced")]),
    ("halves of a character", SEARCH, '{"query": "\ud83d\ude00"}', {"query": "\U0001f600"}, [("", "half a character joined or replaced")]),
    ("half of a character", SEARCH, '{"query": "\ud83d"}', {"query": "\ufffd"}, [("", "half a character joined or replaced")]),
    ("half of a character, escaped", SEARCH, '{"query": "\\ud83d", "page": null}', {"query": "\ufffd"}, [("", "half a character joined or replaced"), ("page", NULL_LEFT_OUT)]),
    ("nothing", PING, "", {}, EMPTY),
    ("blanks", PING, " \n", {}, EMPTY),
    ("null", PING, "null", {}, EMPTY),
    ("None", SEARCH, "None", {}, EMPTY),
    ("double-encoded list", SEARCH, '{"tags": "[\\"a\\"]"}', {"tags": ["a"]}, [("tags", AGAIN)]),
    ("double-encoded object", SEARCH, '{"where": "{\\"field\\": \\"f\\"}"}', {"where": Filter(field="f")}, [("where", AGAIN)]),
    ("double-encoded text", SEARCH, '{"sort": "\\"down\\""}', {"sort": "down"}, [("sort", AGAIN)]),
    ("double-encoded deep inside", SEARCH, '{"box": {"filters": [{"field": "f"}, "{\\"field\\": \\"g\\"}"]}}', {"box": Box([Filter(field="f"), Filter(field="g")])}, [("box.filters.1", AGAIN)]),
    ("several at once", SEARCH, '{"tags": "[]", "page": null, "sort": "\\"up\\""}', {"tags": [], "sort": "up"}, [("tags", AGAIN), ("page", NULL_LEFT_OUT), ("sort", AGAIN)]),
    ("fence, then a part", SEARCH, '```\n{"tags": "[]"}\n```', {"tags": []}, [("", "code fence removed"), ("tags", AGAIN)]),
    ('"null" for an optional', SEARCH, '{"tags": "null"}', {"tags": None}, [("tags", "'null' read as null")]),
    ('"None" for an optional', SEARCH, '{"where": "None"}', {"where": None}, [("where", "'None' read as null")]),
    ("null for a default", SEARCH, '{"query": "a", "page": null}', {"query": "a"}, [("page", NULL_LEFT_OUT)]),
    ("null for a default inside", SEARCH, '{"where": {"field": "f", "limit": null}}', {"where": Filter(field="f")}, [("where.limit", NULL_LEFT_OUT)]),
    ("null for what is not known", SEARCH, '{"reason": null}', {}, [("reason", NULL_LEFT_OUT)]),
    ("object for a text", SEARCH, '{"query": {"a": [1, "é"]}}', {"query": '{"a":[1,"é"]}'}, [("query", "put into a text as JSON")]),
    ("list for a text", SEARCH, '{"query": ["a"]}', {"query": '["a"]'}, [("query", "put into a text as JSON")]),
    ("a text in quotes that is too long", SEARCH, '{"code": "\\"abcd\\""}', {"code": "abcd"}, [("code", AGAIN)]),
    ("branches of a union", SEARCH, '{"more": "[1]"}', {"more": [1]}, [("more", AGAIN)]),
    ("a branch of a union inside", SEARCH, '{"more": {"field": "f", "limit": null}}', {"more": Filter(field="f")}, [("more.limit", NULL_LEFT_OUT)]),
]

# Valid as it is: not a byte of it is touched, however much it looks like a mistake.
VALID: list[tuple[str, dict[str, Any]]] = [
    ("{}", {}),
    ('{"query": "null"}', {"query": "null"}),
    ('{"query": "[1, 2]"}', {"query": "[1, 2]"}),
    ('{"query": "```json\\n{}\\n```"}', {"query": "```json\n{}\n```"}),
    ('{"query": "{\\"a\\": 1}", "tags": ["null", "None", "1"]}', {"query": '{"a": 1}', "tags": ["null", "None", "1"]}),
    ('{"tags": null, "where": null}', {"tags": None, "where": None}),
    ('{"page": "3"}', {"page": 3}),
    ('{"by_number": {"1": "null"}}', {"by_number": {1: "null"}}),
]

# Beyond repair: the error is that of what the model sent, and where the whole could be read, of what is inside.
BEYOND: list[tuple[str, Arguments, str, list[tuple[str, str]]]] = [
    ("not JSON", SEARCH, "query: a", [("", "json_invalid")]),
    ("cut", SEARCH, '{"query": "a', [("", "json_invalid")]),
    ("a list", SEARCH, "[]", [("", "dict_type")]),
    ("a text", SEARCH, '"hello"', [("", "dict_type")]),
    ("a fence around nothing", SEARCH, "```\nhello\n```", [("", "json_invalid")]),
    ("a wrong value", SEARCH, '{"page": "two"}', [("page", "int_parsing")]),
    ("a value that is JSON and still wrong", SEARCH, '{"page": "[2]"}', [("page", "int_parsing")]),
    ("a repairable value beside a wrong one", SEARCH, '{"tags": "[]", "page": "two"}', [("tags", "list_type"), ("page", "int_parsing")]),
    ("a wrong value in a fence", SEARCH, '```\n{"page": "two"}\n```', [("page", "int_parsing")]),
    ("a number for a text", SEARCH, '{"query": 5}', [("query", "string_type")]),
    ("null in a list", SEARCH, '{"tags": ["a", null]}', [("tags.1", "string_type")]),
    ("a given schema: what is about the whole", GIVEN, '{"page": 1, "a": 1, "b": 1}', [("", "too_long")]),
    ("NaN", SEARCH, '{"page": NaN}', [("", "json_invalid")]),
    ("an argument that is not known", PING, '{"host": "a"}', [("host", "extra_forbidden")]),
    ("a key of a dictionary", SEARCH, '{"by_number": {"a": "1"}}', [("by_number.a.[key]", "int_parsing")]),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "text", "received", "what"), named(CASES))
def test_repairs(arguments: Arguments, text: str, received: dict[str, Any], what: list[tuple[str, str]]) -> None:
    values, repairs = parse_arguments(arguments, text)
    assert (values, list(repairs)) == (received, [ArgumentRepair(*repair) for repair in what])


@pytest.mark.parametrize(("text", "received"), VALID)
def test_nothing_valid_is_changed(text: str, received: dict[str, Any]) -> None:
    assert parse_arguments(SEARCH, text) == (received, ())


@pytest.mark.parametrize(("arguments", "text", "errors"), named(BEYOND))
def test_a_failed_repair_reports_what_was_sent(arguments: Arguments, text: str, errors: list[tuple[str, str]]) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_arguments(arguments, text)
    assert [(".".join(map(str, detail["loc"])), detail["type"]) for detail in caught.value.errors()] == errors
    assert caught.value.__cause__ is None


MEANT = ["functions.search", "functions:search", "a.b.search", "tool: search ", "SEARCH", "Functions.Search"]


@pytest.mark.parametrize("name", [*MEANT, "Same", "find", "search_more", "", "."])
def test_names(name: str) -> None:
    known = frozenset({"search", "ping", "SAME", "same"})
    assert match_tool_name(name, known) == ("search" if name in MEANT else None)


JSON = st.recursive(
    st.sampled_from([None, True, "null", "None", "[1]", "{}", '{"field": "f"}', '"up"', "a"])
    | st.one_of(st.integers(), st.floats(allow_nan=False), any_text(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["field", "limit", "filters", "1", "a.b", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["query", "tags", "where", "page", "sort", "box", "code", "more", "by_number", "other"])
CALLS = st.dictionaries(NAMES, JSON, max_size=4).map(lambda call: to_json(call).decode())
WRAPPED = CALLS | CALLS.map(lambda text: f"```json\n{text}\n```") | CALLS.map(lambda text: to_json(text).decode())


# fmt: off
HOSTILE = [
    "\ud800", '{"query": "\ud800"}', '{"query": "\\ud800"}', '{"tags": "[\\"\\\\ud800\\"]"}',
    '{"query": ["\ud83d\ude00"]}', "\x00", '{"query": "\x00"}', '{"query": "\\u0000", "page": null}',
    "[" * 100_000, '{"a":' * 100_000, '{"tags": "' + "[" * 100_000 + '"}', '{"query": ' + "[" * 150 + "]" * 150 + "}",
    '{"page": ' + "9" * 4_000 + "}", '{"page": ' + "9" * 100_000 + "}", '{"page": "' + "9" * 10_000 + '"}', '{"query": [' + "9" * 4_000 + "]}",
    '{"query": [NaN, 1e999, -Infinity]}', '{"page": NaN, "query": []}', '{"query": [1e400]}', "```" * 10_000,
    "```\n" * 10_000, "```json\n" + " " * 10_000,
]
# fmt: on


def check_parsing(text: str) -> None:
    for arguments in (SEARCH, PING):
        with suppress(ValidationError):
            values, repairs = parse_arguments(arguments, text)
            assert repairs or values == arguments.validate(text)
            inside = [repair.where for repair in repairs if repair.where]
            assert len(set(inside)) == len(inside)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_nothing_else_than_a_validation_error_is_raised_for(text: str) -> None:
    check_parsing(text)


@given(st.text(st.characters(), max_size=30) | WRAPPED)
def test_nothing_else_than_a_validation_error_is_ever_raised(text: str) -> None:
    check_parsing(text)
