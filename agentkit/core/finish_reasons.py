"""Finish reasons: the standard's, and those that single endpoints use."""

from typing import Literal, TypeAlias

Ending: TypeAlias = Literal["whole", "cut", "filtered", "failed"]

_USUAL = ("stop", "tool_calls")
_CUT = frozenset({"length", "max_tokens", "model_length", "model_context_window_exceeded"})
_FILTERED = frozenset({"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "sensitive"})
_FAILED = frozenset({"error", "network_error", "abort", "aborted"})


def ending_of(finish_reason: str | None) -> Ending:
    """Return how a reply ended, by its finish reason; an unknown reason means a whole reply."""
    if finish_reason in _USUAL:
        return "whole"
    reason = (finish_reason or "").lower()
    if reason in _CUT:
        return "cut"
    if reason in _FILTERED:
        return "filtered"
    return "failed" if reason in _FAILED else "whole"
