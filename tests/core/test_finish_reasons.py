import pytest

from agentkit.core.finish_reasons import ending_of


@pytest.mark.parametrize(("ending", "reasons"), [
    ("whole", ["stop", "tool_calls", "function_call", "end_turn", "something_new", "", None]),
    ("cut", ["length", "max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded"]),
    ("filtered", ["content_filter", "SAFETY", "recitation", "prohibited_content", "blocklist", "sensitive"]),
    ("failed", ["error", "network_error", "abort", "aborted"]),
])  # fmt: skip
def test_how_a_reply_ended(ending: str, reasons: list[str | None]) -> None:
    assert {ending_of(reason) for reason in reasons} == {ending}
