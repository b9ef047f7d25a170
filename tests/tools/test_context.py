from time import monotonic
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentkit.core.errors import ToolDefinitionError
from agentkit.core.messages import ToolCall
from agentkit.tools.context import Depends, InjectedParameter, ToolContext, injected_parameter
from agentkit.tools.tool import Tool


def context(**fields: Any) -> ToolContext[Any]:
    told: list[object] = []
    given: dict[str, Any] = {"deps": None, "run_id": "r", "call": ToolCall("1", "a", "{}"), "step": 0, "messages": ()}
    given |= {"_on_progress": told.append} | fields
    return ToolContext(**given)


def give() -> int:
    return 5


@pytest.mark.parametrize(
    ("annotation", "hidden"),
    [
        (ToolContext, InjectedParameter("x", None)),
        (ToolContext[int], InjectedParameter("x", None)),
        (Annotated[ToolContext[int], "the context"], InjectedParameter("x", None)),
        (Annotated[int, Depends(give)], InjectedParameter("x", Depends(give))),
        (Annotated[int, "a number", Depends(give)], InjectedParameter("x", Depends(give))),
        (int, None),
        (Annotated[int, "a number"], None),
        (list[ToolContext[int]], None),
        (Any, None),
    ],
)
def test_which_parameters_the_model_does_not_see(annotation: object, hidden: InjectedParameter | None) -> None:
    assert injected_parameter("x", annotation) == hidden


def test_progress_is_told() -> None:
    told: list[object] = []
    context(_on_progress=told.append).progress({"done": 1})
    assert told == [{"done": 1}]


def test_what_shows() -> None:
    shown = repr(context(deps="db"))
    assert "deps='db'" in shown
    assert "_on_progress" not in shown


@given(st.floats(-1e6, 1e6))
def test_the_time_that_is_left_is_never_less_than_none(seconds: float) -> None:
    left = context(ends=monotonic() + seconds).remaining
    assert 0 <= left <= max(0, seconds)


def test_a_run_without_a_limit_has_all_the_time() -> None:
    assert context().remaining == float("inf")


def test_a_tool_does_not_show_what_is_hidden() -> None:
    def search(text: str, ctx: ToolContext[int], *, limit: Annotated[int, Depends(give)] = 3) -> str:
        return f"{text}{ctx.deps}{limit}"

    made = Tool.of(search)
    assert made.spec.parameters == {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    }
    assert [each.name for each in made.arguments.injected] == ["ctx", "limit"]
    assert made.arguments.validate('{"text":"a"}') == {"text": "a"}
    with pytest.raises(ValidationError, match="ctx"):
        made.arguments.validate('{"text":"a","ctx":1}')


def positional(ctx: ToolContext[int], /) -> str:
    return str(ctx)


def beside_stars(ctx: ToolContext[int], *words: str) -> str:
    return f"{ctx}{words}"


@pytest.mark.parametrize("function", [positional, beside_stars])
def test_what_is_hidden_is_filled_by_name(function: Any) -> None:
    with pytest.raises(ToolDefinitionError, match="'ctx' is filled by name"):
        Tool.of(function)
