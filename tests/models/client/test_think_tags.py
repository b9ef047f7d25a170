"""Reasoning within the text."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit import Agent, ChatClient, Profile, ReasoningDelta, TextDelta
from agentkit.core.chat import ChatChunk
from agentkit.models.client.think_tags import ThinkTags
from agentkit.testing import Raw, chaos
from tests.clients import event

PROFILE = Profile(think_tags=True)
SSE = {"content-type": "text/event-stream"}
TEXTS = [
    ("<think>Hm.</think>Rome.", "Rome.", "Hm."),
    (" \n<think>\nHm.\n</think>\n\nRome.", "Rome.", "\nHm.\n"),
    ("<think></think>Rome.", "Rome.", ""),
    ("<think>Never ends", "", "Never ends"),
    ("Rome.<think>Not first.</think>", "Rome.<think>Not first.</think>", ""),
    ("<thin", "<thin", ""),
    ("<think>a</thinkb</think>", "", "a</thinkb"),
    ("", "", ""),
]


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(text), *[cut % (len(text) + 1) for cut in cuts]})
    return [text[begin:end] for begin, end in itertools.pairwise(edges)]


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 30)), st.booleans())
def test_wherever_a_text_is_cut(case: tuple[str, str, str], cuts: list[int], ends: bool) -> None:
    written, text, reasoning = case
    tags, got = ThinkTags(), ["", ""]
    chunks = [ChatChunk({"choices": [{"delta": {"content": piece}}]}) for piece in pieces(written, cuts)]
    ending: dict[str, object] = {"delta": {}, "finish_reason": "stop"}
    last = ChatChunk({"choices": [ending]}) if ends else None
    for chunk in [*map(tags, chunks), tags(last) if last else tags.rest()]:
        if chunk is not None:
            got = [got[0] + chunk.text, got[1] + chunk.reasoning]
    assert ends is False or tags.rest() is None
    if ends or not reasoning.startswith("Never"):
        assert got == [text, reasoning]


@pytest.mark.parametrize(("written", "text", "reasoning"), TEXTS)
@pytest.mark.parametrize("size", [1, 100])
def test_in_pieces(written: str, text: str, reasoning: str, size: int) -> None:
    tags, got = ThinkTags(), ["", ""]
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    for number, piece in enumerate(pieces, 1):
        ending = {"finish_reason": "stop"} if number == len(pieces) else {}
        chunk = tags(ChatChunk({"choices": [{"delta": {"content": piece}, **ending}]}))
        got = [got[0] + chunk.text, got[1] + chunk.reasoning]
    assert got == [text, reasoning]


def test_a_plain_body_and_what_is_no_text() -> None:
    whole = ThinkTags()(ChatChunk({"choices": [{"message": {"content": TEXTS[0][0]}}], "id": "x"}))
    assert whole.data == {
        "choices": [{"message": {"content": "Rome.", "reasoning_content": "Hm."}}], "id": "x",
    }  # fmt: skip
    chunks: list[dict[str, Any]] = [{"usage": {}}, {"choices": []}, {"choices": [{"delta": {"content": [{"x": "y"}]}}]}]
    for odd in chunks:
        assert ThinkTags()(ChatChunk(odd)).data == odd


@pytest.mark.anyio
async def test_what_was_held_back_is_not_lost() -> None:
    raw = Raw([event({"choices": [{"delta": {"content": "<thi"}}]}), b"data: [DONE]\n\n"], headers=SSE)
    with chaos(raw) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url, api_key="", profile=PROFILE))
        async with agent.stream("Where?") as run:
            _ = [event async for event in run]
    assert run.result.output == "<thi"


@pytest.mark.anyio
@pytest.mark.parametrize("terminated", [True, False])
async def test_a_run_with_think_tags(*, terminated: bool) -> None:
    deltas: list[Any] = [{"content": "<thi"}, {"content": "nk>Hm.</th"}, {"content": "ink>\n"}, {"content": "Rome<"}]
    lines = [event({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    lines.append(event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) if terminated else b"")
    raw = Raw([*lines, b"data: [DONE]\n\n"], headers=SSE)
    with chaos(raw) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url, api_key="", profile=PROFILE))
        async with agent.stream("Where?") as run:
            events = [event async for event in run]
    assert run.result.output == "Rome<"
    assert run.result.steps[0].message.reasoning == "Hm."
    assert "".join([event.text for event in events if isinstance(event, ReasoningDelta)]) == "Hm."
    assert "".join([event.text for event in events if isinstance(event, TextDelta)]) == "Rome<"
    assert "thought Hm." in run.result.explain()
