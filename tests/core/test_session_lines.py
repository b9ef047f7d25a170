import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.core.errors import InvalidRequest, SessionError
from agentkit.core.messages import AssistantMessage, ToolMessage
from agentkit.core.session import Ended, Entry, Started
from agentkit.core.session_lines import entries_of, line_of
from tests.core.test_codec import TEXT
from tests.core.test_dicts import MESSAGE

A = Started("a", "f", "{}")


ENTRY = (
    MESSAGE
    | st.builds(Started, TEXT, TEXT, TEXT, TEXT, TEXT)
    | st.builds(Ended, TEXT, TEXT, TEXT, st.none() | st.builds(ToolMessage, TEXT, TEXT))
)


@given(st.lists(ENTRY, max_size=4))
def test_entries_are_lines_and_entries_again(entries: list[Entry]) -> None:
    lines = [line_of(entry) for entry in entries]
    assert not any("\n" in line for line in lines)
    assert list(entries_of(("here", line.encode()) for line in lines)) == entries


def test_records_of_an_older_version_have_no_key() -> None:
    line = '{"started": {"call_id": "a", "name": "f", "arguments": "{}"}}'
    assert list(entries_of([("here", line)])) == [A]


def test_records_that_are_not_known_here_are_left_out_if_they_say_so() -> None:
    lines = ['{"forked": {}, "skippable": true}', line_of(A)]
    assert list(entries_of(("here", line) for line in lines)) == [A]


@pytest.mark.parametrize("line", [
    "",
    "[]",
    "{}",
    '{"forked": {}}',
    '{"ended": {"call_id": "a"}}',
    b"\xff",
    "[" * 100_000,
    '{"role": "user"}',
    '{"started": {"call_id": "a", "name": "f"}}',
    '{"started": {"call_id": "a", "name": "f", "arguments": {"$new": 1}}}',
])  # fmt: skip
def test_a_line_that_is_no_entry_is_an_error(line: str | bytes) -> None:
    with pytest.raises(SessionError, match=r"(?s)^line 7 cannot be read: .* Nothing was changed"):
        list(entries_of([("line 7", line)]))


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        line_of(AssistantMessage("a", extra={"a": object()}))
    assert json.loads(line_of(A)) == {"started": {"call_id": "a", "name": "f", "arguments": "{}"}}
