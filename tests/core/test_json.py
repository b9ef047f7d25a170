import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.json import decode, decode_beginning, decode_piece, encode, list_of, object_of, whole
from tests.strategies import any_text

TEXTS = st.text(st.characters(codec=None, categories=None))


def values(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=10,
    )


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(("value", "written"), [
    ({"b": 1, "a": [1.5, True, None]}, b'{"b":1,"a":[1.5,true,null]}'),
    ("é\u2028</\x00\x7f", '"é\u2028</\\u0000\x7f"'.encode()),
    (float("nan"), b'"NaN"'),
    (10**30, b"1000000000000000000000000000000"),
    ("a\ud800b", '"a\ufffdb"'.encode()),
    ({"\udc00": ["\ud83d\ude00"]}, '{"\ufffd":["😀"]}'.encode()),
    (("a", "\ud800"), '["a","\ufffd"]'.encode()),
])  # fmt: skip
def test_what_is_written(value: Any, written: bytes) -> None:
    assert encode(value) == written


def test_what_json_cannot_say_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (object(), {"a": ["\ud800", object()]}, b"\xff", endless, nested(300)):
        with pytest.raises(ValueError, match=r"."):
            encode(value)


@pytest.mark.parametrize(("text", "value"), [
    (' {"a": 1, "a": 2}\n', {"a": 2}),
    ('"\\u0000"', "\x00"),
    ("9" * 4000, int("9" * 4000)),
    ('"\\ud83d\\ude00"', "😀"),
    ('"\\ud83d"', "\ufffd"),
    ('"\\ude00\\ud83d \\uD800x"', "\ufffd\ufffd \ufffdx"),
    ('"\\\\ud83d \\ud83d"', "\\ud83d \ufffd"),
    ('"\ud83d\ude00 \ud800"', "😀 \ufffd"),
])  # fmt: skip
def test_what_is_read(text: str, value: Any) -> None:
    assert decode(text) == value
    assert decode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()) == value


NO_JSON = ["", "nul", "NaN", "[Infinity]", "-Infinity", "{}{}", "{'a': 1}", '"\n"', '"\x00"', "[" * 202 + "]" * 202]
CUT = ["9" * 4301, '{"a": "\\ud800"', '["\\ud800", NaN]']


@pytest.mark.parametrize("text", [*NO_JSON, *CUT, b"\xff", b'"\xff"', b"\xef\xbb\xbf{}"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)
    with pytest.raises(ValueError, match=r"."):
        decode_piece(text if isinstance(text, bytes) else text.encode())


def test_half_a_pair_stays_where_the_other_half_may_come() -> None:
    halves = [decode_piece(b'["\\ud83d"]'), decode_piece(b'["\\ude00"]')]
    assert halves == [["\ud83d"], ["\ude00"]]
    assert whole("\ud83d" + "\ude00") == "😀"
    assert decode_piece(b'{"a":1}') == {"a": 1}


@pytest.mark.parametrize(("text", "value"), [
    ('{"a": 1}', {"a": 1}),
    ('{"a": "Hel', {"a": "Hel"}),
    ('{"a": [1, 2', {"a": [1, 2]}),
    ('{"a": 1, "b', {"a": 1}),
    ('"\ud800', "\ufffd"),
])  # fmt: skip
def test_the_beginning_of_a_document(text: str, value: Any) -> None:
    assert decode_beginning(text) == value


def test_what_begins_no_document_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_beginning("what")


def test_two_hundred_levels_are_written_and_read() -> None:
    assert decode(encode(nested(200))) == nested(200)


@given(values(any_text()))
def test_what_is_written_is_read_back(value: Any) -> None:
    assert encode(value) == encode(value)
    assert decode(encode(value)) == value == decode_piece(encode(value))
    assert decode(json.dumps(value)) == value


@given(values(TEXTS))
def test_what_has_surrogates_is_written_all_the_same(value: Any) -> None:
    assert encode(decode(encode(value))) == encode(value)
    assert decode(json.dumps(value)) == decode(encode(value))


@given(st.binary(max_size=30) | TEXTS.map(lambda text: json.dumps(text).encode()))
def test_reading_gives_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError:
        return
    decode(encode(value))


@given(TEXTS)
def test_a_whole_text_can_be_sent(text: str) -> None:
    sent = whole(text).encode()
    assert whole(sent.decode()) == sent.decode()
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert sent.decode() == text


def test_a_value_of_another_kind_is_empty() -> None:
    assert (object_of({"a": 1}), object_of([1]), object_of(None)) == ({"a": 1}, {}, {})
    assert (list_of([1]), list_of({"a": 1}), list_of(None)) == ([1], [], [])
