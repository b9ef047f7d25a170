import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given

from agentkit.core.json import encode
from agentkit.core.lossless import exact, rest_of, value_of
from agentkit.core.messages import ToolMessage, UserMessage
from tests.core.test_stored import ANY


@given(ANY)
def test_a_value_goes_round(value: Any) -> None:
    written = exact(value)
    assert value_of(written) == value
    assert value_of(json.loads(encode(written))) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, {"a": [1, 2.5, None, True, "é"]}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({"$a": 1, "b": 2}, {"$a": 1, "b": 2}),
        ({"$a": 1}, {"$dict": [["$a", 1]]}),
        ({1: 2}, {"$dict": [[1, 2]]}),
        ((1, 2), {"$tuple": [1, 2]}),
        (2**63 - 1, 2**63 - 1),
        (-(2**63) - 1, {"$int": "-0x8000000000000001"}),
        (float("-inf"), {"$float": "-inf"}),
        ("\ud83d\ude00", {"$text": "\\ud83d\\ude00"}),
    ],
)
def test_what_is_written(value: Any, written: Any) -> None:
    assert exact(value) == written
    assert value_of(written) == value


def test_what_is_not_a_number_stays_so() -> None:
    number = value_of(exact(float("nan")))
    assert number != number  # noqa: PLR0124 (that is what it is)


def test_the_rest_of_a_message() -> None:
    assert rest_of(UserMessage("a"), UserMessage("a")) == {}
    assert rest_of(UserMessage("a"), UserMessage("b")) == {"content": "a"}
    everything: dict[str, object] = {"tool_call_id": "", "content": "a", "outcome": "ok", "full": None, "images": []}
    assert rest_of(ToolMessage("", "a"), None) == everything
