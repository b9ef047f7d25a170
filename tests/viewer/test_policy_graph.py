from itertools import pairwise
from typing import Any

from agentkit import Agent, State, SystemMessage, UserMessage
from agentkit.tool_choice import budget, first, force
from agentkit.viewer import graph_of
from tests.scripted import Scripted, called, said


def search(n: int = 0) -> str:
    return f"found {n}"


def send() -> str:
    return "sent"


def agent(*plays: Any, choice: Any = None) -> Agent[Any, str]:
    policy = first(force(search), then="auto") & budget(3) if choice is None else choice
    return Agent(Scripted(*plays), tools=[search, send], tool_choice=policy, max_repeats=None)


def test_the_way_of_a_run_goes_from_state_to_state() -> None:
    asked = agent(called(("search", {})), called(("search", {"n": 1}), ("send", {})), said("Done."))
    graph: Any = graph_of(asked, asked.run_sync("go").messages)
    labels = [node["label"] for node in graph["nodes"]]
    assert [labels[at] for at in graph["path"]] == ["search", "auto", "none"]
    assert (graph["path"][0], graph["nodes"][0]["answers"], graph["complete"]) == (0, False, True)
    moves = {(start, end) for start, end, _ in graph["edges"]}
    trail = graph["trail"]
    assert set(pairwise(trail)) <= moves | {(at, at) for at in trail}
    assert graph["policy"] == repr(asked.tool_choice)


def test_only_the_replies_of_the_run_count_and_each_turn_begins_anew() -> None:
    asked = agent(called(("search", {})), said("Done."), called(("search", {"n": 2})), said("Again."))
    before = asked.run_sync("go")
    after = asked.run_sync([SystemMessage("be"), *before.messages, UserMessage("more")])
    assert graph_of(asked, after.messages, after.start)["path"] == graph_of(asked, before.messages)["path"]


def test_a_state_that_was_not_explored_has_no_place() -> None:
    def free(state: State) -> str:
        return "auto"

    odd = agent(called(("search", {"n": 5})), said("Done."), choice=free)
    graph = graph_of(odd, odd.run_sync("go").messages)
    assert graph["path"] == [0, None]
    assert graph["trail"] == [0]
