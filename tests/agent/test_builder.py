from collections.abc import Sequence

import pytest

from agentkit import (
    Agent,
    Candidate,
    ChatClient,
    ConfigurationError,
    Limits,
    Settings,
    Toolbox,
    first_valid,
    majority,
    tool,
)
from agentkit.agent.builder import check_limits, model_of, policy_for, selector_of, stops_of, with_final
from agentkit.models import Continuing
from agentkit.runs.output import FINAL_ANSWER, output_of
from tests.scripted import Scripted, said


@tool
def search(query: str) -> str:
    return query


@tool(ends=True)
def file(title: str) -> str:
    return title


async def slow_pick(candidates: Sequence[Candidate]) -> Candidate:
    return candidates[0]


TOOLBOX = Toolbox([search, file])


def test_what_picks() -> None:
    assert selector_of(None, Settings()) is None
    assert selector_of(None, Settings(n=1)) is None
    assert selector_of(None, Settings(n=2)) is first_valid
    assert selector_of(majority, Settings(n=2)) is majority
    with pytest.raises(ConfigurationError, match=r"Settings\(n=5\)"):
        selector_of(majority, Settings())
    with pytest.raises(ConfigurationError, match=r"slow_pick .* is async"):
        Agent(Scripted(said("x")), settings=Settings(n=2), selector=slow_pick)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_what_ends_a_run() -> None:
    assert stops_of(None, Toolbox([search])) == frozenset()
    assert stops_of(None, TOOLBOX) == {"file"}
    assert stops_of(search, TOOLBOX) == stops_of(["search"], TOOLBOX) == {"search", "file"}


def test_a_typed_answer_alone_ends_a_run() -> None:
    typed = output_of(int)
    assert with_final(TOOLBOX, None, frozenset({"file"})) == (TOOLBOX, frozenset({"file"}))
    toolbox, stops = with_final(Toolbox([search]), typed, frozenset())
    assert (toolbox.names, stops) == (frozenset({"search", FINAL_ANSWER}), frozenset({FINAL_ANSWER}))
    with pytest.raises(ConfigurationError, match="so file cannot end it beside output"):
        with_final(TOOLBOX, typed, frozenset({"file"}))
    with pytest.raises(ConfigurationError, match="so file cannot end it beside output"):
        Agent(Scripted(said("x")), tools=[file], output=int)


def test_limits_of_tools_that_are_not_there() -> None:
    check_limits(Limits(calls_of={"search": 2}), TOOLBOX)
    with pytest.raises(ConfigurationError, match="'serach', which is not a tool; those are: file, search"):
        check_limits(Limits(calls_of={"serach": 2}), TOOLBOX)
    with pytest.raises(ConfigurationError, match="those are: none"):
        Agent(Scripted(said("x")), limits=Limits(calls_of={"x": 1}))


def test_policies_that_cannot_be() -> None:
    with pytest.raises(ConfigurationError, match="stop_at names 'x'"):
        policy_for("auto", TOOLBOX, frozenset({"x"}))
    with pytest.raises(ConfigurationError, match="the model could never answer"):
        policy_for("required", TOOLBOX, frozenset())
    assert repr(policy_for("required", TOOLBOX, frozenset({"file"}))) == "required"


def test_models_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    found = model_of("some-model", "error")
    assert isinstance(found, ChatClient)
    assert found.name == "some-model"
    own = Scripted(said("x"))
    assert model_of(own, "accept") is own
    assert isinstance(model_of(own, "continue"), Continuing)
    with pytest.raises(ConfigurationError, match="no model file"):
        model_of("local:nowhere.gguf", "error")
