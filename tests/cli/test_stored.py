"""What files hold; which commands say what of them is in the tests of `replay` and `view`."""

import json
from pathlib import Path

import anyio
import pytest

from agentkit import AssistantMessage, ConfigurationError, UserMessage
from agentkit.cli.session_argument import parse_session_argument
from agentkit.cli.stored import Messages, SavedBatch, SavedCassette, SavedResult, read_stored
from agentkit.core.dicts import dumps
from agentkit.core.session import StoredConversation

HELLO = (UserMessage("Hello"), AssistantMessage("Hi"))


@pytest.mark.usefixtures("folder")
def test_contents_tell_what_a_file_is() -> None:
    anyio.run(parse_session_argument("a.db:ann").session.append, HELLO)
    anyio.run(parse_session_argument("a.jsonl").session.append, HELLO)
    Path("m.json").write_text(dumps(HELLO))
    Path("r.json").write_text(json.dumps({"messages": []}))
    Path("c.jsonl").write_text('{"cassette": 1, "model": "m"}\n')
    Path("b.jsonl").write_text('{"agentkit":"batch","stored":"0000000000 00000000"}\n{"key":"k"}\nno JSON\n{"key"')
    Path("old.jsonl").write_text('{"batch":1,"agent":{}}\n')
    for name, kind in (
        ("a.db", StoredConversation), ("a.jsonl", StoredConversation), ("m.json", Messages), ("r.json", SavedResult),
        ("c.jsonl", SavedCassette), ("b.jsonl", SavedBatch), ("old.jsonl", SavedBatch),
    ):  # fmt: skip
        assert isinstance(anyio.run(read_stored, name)[1], kind), name
    assert anyio.run(read_stored, "a.db")[0] == "ann"
    _, batch = anyio.run(read_stored, "b.jsonl")
    assert isinstance(batch, SavedBatch)
    assert [line.get("key") for line in batch.lines] == [None, "k", "?"]  # the last line is being written


@pytest.mark.usefixtures("folder")
def test_an_error_names_the_command() -> None:
    Path("a.json").write_text("no JSON")
    with pytest.raises(ConfigurationError, match="cannot be viewed"):
        anyio.run(read_stored, "a.json", "view")
