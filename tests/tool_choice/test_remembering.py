"""What policies remember: the turn, or the conversation."""

from typing import Any, cast

import pytest

from agentkit import AssistantMessage, ConfigurationError, State, ToolCall, ToolMessage, UserMessage
from agentkit.tool_choice import before_answer

CALL = AssistantMessage(tool_calls=(ToolCall("c0", "log_in", "{}"),))
HISTORY = (
    UserMessage("I am Ann."),
    CALL,
    ToolMessage("c0", "welcome"),
    AssistantMessage("Hello."),
    UserMessage("Pay."),
)


def test_a_turn_forgets_and_a_conversation_does_not() -> None:
    state = State.of(HISTORY)
    assert before_answer("log_in")(state).mode == "required"
    assert before_answer("log_in", scope="conversation")(state).mode == "auto"
    assert before_answer("log_in").seen(state) is state


def test_another_scope_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        before_answer("log_in", scope=cast("Any", "day"))
