from typing import Any, get_type_hints

import pytest

from agentkit import Agent, ToolDefinitionError, tool
from agentkit.tools.options import DEFAULTS, ToolOptions, ToolOptionsDict
from tests.scripted import Scripted, said


def test_the_options_are_the_same_in_both_forms_and_there_are_no_others() -> None:
    assert get_type_hints(ToolOptionsDict) == get_type_hints(ToolOptions)
    assert ToolOptions() == DEFAULTS
    assert not any(getattr(DEFAULTS, name) for name in ToolOptionsDict.__annotations__ if name != "on_interrupted")
    with pytest.raises(TypeError, match="retries"):
        tool(retries=2)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]


BAD = {
    "timeout": (0, -1.5, float("nan"), "5"),
    "max_result": (0, -5, 2.5),
    "max_retries": (-1, 2.5),
    "isolate": ("thread",),
    "effect": ("twice",),
}


@pytest.mark.parametrize(("word", "options"), [
    *[(option, {option: value}) for option, values in BAD.items() for value in values],
    ("on_interrupted", {"effect": "once", "on_interrupted": "stop"}),
    ("once", {"key": "a"}),
    ("once", {"on_interrupted": "done"}),
])  # fmt: skip
def test_what_cannot_be_is_refused(word: str, options: dict[str, Any]) -> None:
    for make in (ToolOptions, tool):
        with pytest.raises(ToolDefinitionError, match=word):
            make(**options)


@pytest.mark.parametrize(("options", "recorded"), [
    ({"timeout": float("inf"), "max_result": 100, "max_retries": 0, "sequential": True, "repeatable": True, "strict": True}, False),
    ({"effect": "once"}, True),
    ({"effect": "once", "key": ("query",), "on_interrupted": "again", "ends": True}, True),
    ({"approval": True}, True),
    ({"approval": dict[str, object].__len__}, True),
])  # fmt: skip
def test_the_decorator_takes_each_of_them(options: dict[str, Any], recorded: bool) -> None:
    def search(query: str) -> str:
        return query

    (made,) = Agent(Scripted(said("x")), tools=[tool(**options)(search)]).tools
    assert made.options == ToolOptions(**options)
    assert made.options.recorded == recorded
