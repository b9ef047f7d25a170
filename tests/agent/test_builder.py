from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from agentkit import (
    Agent,
    Candidate,
    ChatClient,
    ConfigurationError,
    Settings,
    State,
    Toolbox,
    first_valid,
    majority,
    tool,
)
from agentkit.agent.builder import model_of, selector_of, stops_of, with_final
from agentkit.core.chat import FINAL_ANSWER
from agentkit.models import Continuing
from agentkit.runs.output import output_of
from agentkit.tool_choice import budget, first
from tests.endpoint import serving, text
from tests.scripted import Scripted, said


@tool
def search(query: str) -> str:
    return query


@tool(ends=True)
def file(title: str) -> str:
    return title


async def slow_select(candidates: Sequence[Candidate]) -> Candidate:
    return candidates[0]


def delete(path: str) -> None: ...


def policy_of_two(state: State, other: int) -> str:
    return "auto"


TOOLBOX, TYPED = Toolbox([search, file]), output_of(int)


@pytest.mark.parametrize(
    ("options", "key_word"),
    [
        ({"threads": 0}, "threads"),
        ({"max_corrections": -1}, "max_corrections"),
        ({"errors": "hidden"}, "hidden"),
        *[({"instructions": odd}, "instructions must be a text") for odd in (123, b"Be brief.", ["Be brief."])],
        ({"on_truncated": "join"}, "join"),
        ({"tools": None}, "None"),
        ({"tools": search}, "list of functions"),
        ({"observers": [anyio.sleep]}, "observer"),
        ({"stop_at": "nothing"}, "nothing"),
        ({"tool_choice": "required"}, "never answer"),
        ({"tool_choice": first(delete)}, "delete"),
        ({"tool_choice": first(policy_of_two)}, "policy_of_two"),
        ({"tool_choice": budget(2, of="serach")}, "'serach'.*search"),
        ({"tool_choice": budget(2, of="search"), "tools": []}, "none"),
        ({"selector": majority}, r"Settings\(n=5\)"),
        ({"selector": slow_select, "settings": Settings(n=2)}, "slow_select.* is async"),
        ({"tools": [file], "output": int}, "file"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], key_word: str) -> None:
    with pytest.raises(ConfigurationError, match=key_word):
        Agent(Scripted(), **(dict[str, Any](tools=[search]) | options))


def test_the_selector() -> None:
    assert selector_of(None, Settings()) is selector_of(None, Settings(n=1)) is None
    assert selector_of(None, Settings(n=2)) is first_valid
    assert selector_of(majority, Settings(n=2)) is majority


def test_the_tools_that_end_a_run() -> None:
    assert stops_of(None, Toolbox([search])) == frozenset()
    assert stops_of(None, TOOLBOX) == {"file"}
    assert stops_of(search, TOOLBOX) == stops_of(["search"], TOOLBOX) == {"search", "file"}
    assert with_final(TOOLBOX, None, frozenset({"file"})) == (TOOLBOX, frozenset({"file"}))
    toolbox, stops = with_final(Toolbox([search]), TYPED, frozenset())
    assert (toolbox.names, stops) == (frozenset({"search", FINAL_ANSWER}), frozenset({FINAL_ANSWER}))


def test_models_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="AGENTKIT_BASE_URL"):
        Agent("m")
    with serving(text("Hi.")) as endpoint:
        monkeypatch.setenv("AGENTKIT_BASE_URL", endpoint.url)
        monkeypatch.setenv("AGENTKIT_API_KEY", "sk-environment")
        assert isinstance(model_of("some-model", "error"), ChatClient)
        assert Agent("some-model").run_sync("Hello").output == "Hi."
    assert endpoint.requests[0]["model"] == "some-model"
    assert endpoint.headers[0]["authorization"] == "Bearer sk-environment"
    own = Scripted(said("x"))
    assert model_of(own, "accept") is own
    assert isinstance(model_of(own, "continue"), Continuing)
    with pytest.raises(ConfigurationError, match="no model file"):
        model_of("local:nowhere.gguf", "error")
