import json
from typing import Any, cast

import pytest

from agentkit.core.errors import ConfigurationError, ReplyTooLarge
from agentkit.core.reply_limits import ReplyLimits, Room, values_in

NAMES = ("event", "body", "arguments", "calls", "choices", "values")


def test_the_defaults() -> None:
    assert ReplyLimits() == ReplyLimits(
        event=8_000_000, body=64_000_000, arguments=1_000_000, calls=128, choices=128, values=1_000_000
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_size_is_refused(name: str) -> None:
    wrong: list[Any] = [0, 1.0, None]
    for value in wrong:
        with pytest.raises(ConfigurationError, match=rf"ReplyLimits\({name}=…\)"):
            ReplyLimits(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_the_error_says_what_and_the_way_out(name: str) -> None:
    error = ReplyLimits(**{name: 1234}).too_large(name)
    assert (error.limit, error.allowed) == (name, 1234)
    assert "more than 1,234 " in str(error)
    assert f"reply_limits=ReplyLimits({name}=…)" in str(error)


@pytest.mark.parametrize("value", [1, "a", [], {}, [1, 2], {"a": 1}, {"a": [1, {"b": None}], "c": {}}, ["a,b:[{"]])
def test_values_are_counted_without_decoding(value: object) -> None:
    def count(found: object) -> int:
        if isinstance(found, dict):
            inner = cast("dict[str, object]", found)
            return 1 + len(inner) + sum(map(count, inner.values()))
        return 1 + sum(map(count, cast("list[object]", found))) if isinstance(found, list) else 1

    assert values_in(json.dumps(value, separators=(",", ":")).encode()) >= count(value)


def test_room_is_taken_and_given_back() -> None:
    room = Room(ReplyLimits(values=5))
    room.take(5)
    room.take(-2)
    room.take(2)
    with pytest.raises(ReplyTooLarge) as caught:
        room.take(1)
    assert (caught.value.limit, caught.value.allowed) == ("values", 5)
