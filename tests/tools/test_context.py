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
from tests.tools.schema.values import define_in


def context(**fields: Any) -> ToolContext[Any]:
    fields = {"deps": None, "call": ToolCall("1", "a", "{}"), "messages": (), "_on_progress": print} | fields
    return ToolContext(run_id="r", step=0, **fields)


def give() -> int:
    return 5


@pytest.mark.parametrize(("annotation", "injected"), [
    (ToolContext, InjectedParameter("x", None)),
    (ToolContext[int], InjectedParameter("x", None)),
    (Annotated[ToolContext[int], "the context"], InjectedParameter("x", None)),
    (Annotated[int, Depends(give)], InjectedParameter("x", Depends(give))),
    (Annotated[int, "a number", Depends(give)], InjectedParameter("x", Depends(give))),
    (int, None),
    (Annotated[int, "a number"], None),
    (list[ToolContext[int]], None),
    (Any, None),
])  # fmt: skip
def test_which_parameters_the_model_does_not_see(annotation: object, injected: InjectedParameter | None) -> None:
    assert injected_parameter("x", annotation) == injected


def test_progress_and_what_shows() -> None:
    reported: list[object] = []
    ctx = context(deps="db", _on_progress=reported.append)
    ctx.progress({"done": 1})
    assert reported == [{"done": 1}]
    assert "deps='db'" in repr(ctx)
    assert "_on_progress" not in repr(ctx)


@given(st.floats(-1e6, 1e6))
def test_the_time_that_is_left_is_never_less_than_none(seconds: float) -> None:
    left = context(ends=monotonic() + seconds).remaining
    assert 0 <= left <= max(0, seconds)
    assert context().remaining == float("inf"), "a run without a limit"


def test_a_tool_does_not_show_what_is_injected() -> None:
    def search(text: str, ctx: ToolContext[int], *, limit: Annotated[int, Depends(give)] = 3) -> str:
        return f"{text}{ctx.deps}{limit}"

    made = Tool.of(search)
    assert made.spec.parameters["properties"] == {"text": {"type": "string"}}
    assert [parameter.name for parameter in made.arguments.injected] == ["ctx", "limit"]
    assert made.arguments.validate('{"text":"a"}') == {"text": "a"}
    with pytest.raises(ValidationError, match="ctx"):
        made.arguments.validate('{"text":"a","ctx":1}')


@pytest.mark.parametrize("parameters", ["ctx: ToolContext, /", "ctx: ToolContext, *words: str"])
def test_what_is_injected_is_passed_by_name(parameters: str) -> None:
    with pytest.raises(ToolDefinitionError, match="'ctx'"):
        Tool.of(define_in(globals(), f"def use({parameters}): ..."))
