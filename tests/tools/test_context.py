from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any, Optional, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typing_extensions import TypeAliasType, TypedDict

from agentkit.core.errors import InvalidRequest, ToolDefinitionError
from agentkit.core.messages import ToolCall
from agentkit.tools.context import Depends, InjectedParameter, ToolContext, injected_parameter
from agentkit.tools.schema.annotations import UnresolvedName
from agentkit.tools.tool import Tool
from tests.tools.schema.values import define_in

T = TypeVar("T")


def context(**fields: Any) -> ToolContext[Any]:
    fields = {"deps": None, "call": ToolCall("1", "a", "{}"), "messages": (), "_on_progress": print} | fields
    return ToolContext(run_id="r", step=0, **fields)


def give() -> int:
    return 5


Given = TypeAliasType("Given", Annotated[int, Depends(give)])
Again = TypeAliasType("Again", Annotated[Given, "a number"])
GivenAs = TypeAliasType("GivenAs", Annotated[T, Depends(give)], type_params=(T,))
Ctx = TypeAliasType("Ctx", ToolContext[int])
CtxOf = TypeAliasType("CtxOf", ToolContext[T], type_params=(T,))
City = TypeAliasType("City", Annotated[str, "The city."])


class Own(ToolContext[int]):
    @property
    def double(self) -> int:
        return 2 * self.deps


class OwnOf(ToolContext[T]): ...


@dataclass
class Inside:
    given: Given


class Keys(TypedDict):
    given: Given


ANNOTATIONS: list[tuple[object, InjectedParameter | None]] = [
    (ToolContext, InjectedParameter("x", None)),
    (ToolContext[int], InjectedParameter("x", None)),
    (Annotated[ToolContext[int], "the context"], InjectedParameter("x", None)),
    (Annotated[int, Depends(give)], InjectedParameter("x", Depends(give))),
    (Annotated[int, "a number", Depends(give)], InjectedParameter("x", Depends(give))),
    (ToolContext[int] | None, InjectedParameter("x", None)),
    (Optional[Annotated[int, Depends(give)]], InjectedParameter("x", Depends(give))),  # noqa: UP045 (another class than `|` makes)
    (Annotated[Annotated[int, Depends(int)], Depends(give)], InjectedParameter("x", Depends(give))),
    (Given, InjectedParameter("x", Depends(give))),
    (Again, InjectedParameter("x", Depends(give))),
    (Again | None, InjectedParameter("x", Depends(give))),
    (GivenAs[int], InjectedParameter("x", Depends(give))),
    (Ctx, InjectedParameter("x", None)),
    (CtxOf[int], InjectedParameter("x", None)),
    (Own, InjectedParameter("x", None, Own)),
    (OwnOf[int] | None, InjectedParameter("x", None, OwnOf)),
    (int, None),
    (Annotated[int, "a number"], None),
    (int | None, None),
    (int | str, None),
    (Any, None),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "injected"), ANNOTATIONS)
def test_which_parameters_the_model_does_not_see(annotation: object, injected: InjectedParameter | None) -> None:
    assert injected_parameter("x", annotation) == injected


def test_a_message_goes_to_the_run_if_there_is_one() -> None:
    sent: list[object] = []
    context(_send=sent.append).send("also check Rome")
    assert sent == ["also check Rome"]
    with pytest.raises(InvalidRequest):
        context().send("also check Rome")


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


@pytest.mark.parametrize("source", [
    "x: list[Given]", "x: dict[str, Annotated[int, Depends(give)]]", "x: Given | str", "x: Annotated[int, Depends]",
    "x: int = Depends", "x: Depends", "x: Depends(give)", "x: list[Ctx]", "x: ToolContext | str", "x: Ctx | str",
    "x: Inside", "x: list[Keys]", "**x: Unpack[Keys]", "x: NewType('Hidden', ToolContext)",
    "x: Annotated[list[Given], pydantic.WithJsonSchema({'type': 'array'})]",
])  # fmt: skip
def test_a_marker_inside_another_type_is_refused(source: str) -> None:
    with pytest.raises(ToolDefinitionError, match=r"parameter '(x|given)': .*whole parameter"):
        Tool.of(define_in(globals(), f"def use({source}): ..."))


def test_a_dependency_as_the_default_and_a_description_in_an_alias() -> None:
    # openai/openai-agents-python#3949, FastDepends#217
    source = "def use(city: City, user: str = Depends(give), other=Depends(give), own: Again = 3): ..."
    made = Tool.of(define_in(globals(), source))
    assert made.spec.parameters["properties"] == {"city": {"type": "string", "description": "The city."}}
    assert [parameter.name for parameter in made.arguments.injected] == ["user", "other", "own"]
    with pytest.raises(ValidationError, match="user"):
        made.arguments.validate('{"city": "Rome", "user": "root"}')


def test_a_context_as_a_class_of_ones_own() -> None:
    ctx = Own.of(context(deps=4))
    assert (type(ctx), ctx.double, ctx.run_id) == (Own, 8, "r")
    assert Own.of(ctx) is ctx


def test_an_alias_that_is_defined_later() -> None:
    class TypeAliasType:  # as Python 3.12 makes one of `type Later = Missing`
        @property
        def __value__(self) -> object:
            raise NameError("name 'Missing' is not defined")

    def use(x: int) -> None: ...

    use.__annotations__["x"] = TypeAliasType()
    with pytest.raises(UnresolvedName, match=r"'x': .*'Missing'"):
        Tool.of(use)


@pytest.mark.parametrize(
    "parameters",
    ["ctx: ToolContext, /", "ctx: ToolContext, *words: str", "*ctx: ToolContext", "**ctx: ToolContext"],
)
def test_what_is_injected_is_passed_by_name(parameters: str) -> None:
    with pytest.raises(ToolDefinitionError, match="'ctx'"):
        Tool.of(define_in(globals(), f"def use({parameters}): ..."))
