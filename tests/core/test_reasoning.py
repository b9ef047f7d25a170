from typing import Any

import pytest

from agentkit import AssistantMessage
from agentkit.core.chat import ChatChunk
from agentkit.core.reasoning import reasoning_of

DETAILS = [{"type": "reasoning.text", "text": "One. "}, {"type": "reasoning.summary", "summary": "Two."}, {"data": "x"}]


@pytest.mark.parametrize(
    ("fields", "reasoning"),
    [
        ({}, ""),
        ({"reasoning_content": "One."}, "One."),
        ({"reasoning": "One.", "reasoning_details": DETAILS}, "One."),
        ({"reasoning_content": None, "reasoning": "", "reasoning_details": DETAILS}, "One. Two."),
        ({"reasoning_content": 5, "reasoning_details": ["x", {"text": 5}]}, ""),
    ],
)
def test_reasoning(fields: dict[str, Any], reasoning: str) -> None:
    assert reasoning_of(fields) == reasoning
    assert AssistantMessage("Hi", extra=fields).reasoning == reasoning
    assert ChatChunk({"choices": [{"delta": fields}]}).reasoning == reasoning
