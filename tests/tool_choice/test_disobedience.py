"""Every word against every disobedience, on real sockets: `benchmarks/disobedience.py` says what must come of it."""

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit import tool_choice
from agentkit.tool_choice import Policy
from tests.endpoint import fault_in

HERE = Path(__file__).parents[2] / "benchmarks"
ENDPOINTS = (
    "obeys",
    "calls twice",
    "adds calls of every tool",
    "ignores the choice",
    "repeats itself",
    "invents ids and values",
)


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(HERE), *sys.path])
        yield importlib.import_module("disobedience")
        for name in ("disobedience", "words"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def cells(script: Any) -> Any:
    return asyncio.run(script.cells())


def test_every_word_is_in_the_table(script: Any) -> None:
    public = [getattr(tool_choice, name) for name in tool_choice.__all__]
    words = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Policy)}
    bases = {tool_choice.Policy, tool_choice.fixed, tool_choice.both, tool_choice.phase}
    assert [word for word in words - bases if not any(row.policy.every(word) for row in script.WORDS)] == []
    assert tuple(script.ENDPOINTS) == ENDPOINTS


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_each_allowed_call_ran_once_no_other_did_and_no_request_was_wasted(
    script: Any, cells: Any, endpoint: str
) -> None:
    for word in script.WORDS:
        came, requests = cells[repr(word.policy), endpoint]
        assert came == script.ideal(word, script.ENDPOINTS[endpoint]), repr(word.policy)
        assert came.end == "answer"
        for request in requests:
            assert fault_in(request["messages"]) is None


def test_the_page_has_the_table(script: Any, cells: Any) -> None:
    page = script.PAGE.read_text()
    assert script.rewritten(page, script.table(cells)) == page
