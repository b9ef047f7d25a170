from agentkit.core.messages import AssistantMessage, ToolCall, ToolMessage, UserMessage
from agentkit.core.repair import UNKNOWN
from agentkit.core.session import Ended, Entry, Started, StoredConversation

CALLING = AssistantMessage(tool_calls=(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")))
A, B = Started("a", "f", "{}"), Started("b", "f", "{}")


def test_what_was_started_and_not_answered_is_known() -> None:
    kept = StoredConversation.of([UserMessage("Hi"), CALLING, A, B, ToolMessage("b", "done")])
    assert kept == StoredConversation(
        (UserMessage("Hi"), CALLING, ToolMessage("b", "done")), (A,), ((B, ToolMessage("b", "done")),), 5
    )
    assert StoredConversation.of([CALLING, A, ToolMessage("a", "done")]).started == ()
    assert StoredConversation.of([ToolMessage("a", "done"), A]).started == (A,)


def test_an_id_that_is_used_again_is_another_call() -> None:
    other = AssistantMessage(tool_calls=(ToolCall("b", "f", "{}"),))
    kept = StoredConversation.of([CALLING, A, B, UserMessage("Hi"), other])
    assert kept.started == (A,)
    assert kept.ended == ((B, ToolMessage("b", UNKNOWN, "cancelled")),)  # what it did is not forgotten


def test_a_result_that_came_late_replaces_a_placeholder() -> None:
    """A payment that ended while the user went on talking is not made again (agent-framework#1366)."""
    late, unknown = ToolMessage("b", "done"), ToolMessage("b", UNKNOWN, "cancelled")
    for entries in ([unknown, late], [unknown, UserMessage("Hi"), unknown, late, unknown], [late, unknown]):
        assert StoredConversation.of([CALLING, B, *entries]).ended == ((B, late),)
    other = AssistantMessage(tool_calls=(ToolCall("b", "f", "{}"),))
    for first in ([ToolMessage("b", "other")], [B, ToolMessage("b", "other")]):
        kept = StoredConversation.of([CALLING, B, unknown, other, *first])
        assert kept.ended[0] == (B, unknown)  # it is the other's
        assert StoredConversation.of([CALLING, B, unknown, other, *first, late]).ended[0] == (B, late)


def test_a_result_belongs_to_the_start_with_its_key() -> None:
    """Two runs wrote at the same time, and the ids of their calls are the same."""
    mine, other = Started("b", "f", "{}", "1", "run"), Started("b", "f", "{}", "2", "other run")
    done, failed = ToolMessage("b", "done"), ToolMessage("b", "failed", "error")
    ends: list[Entry] = [failed, Ended("b", "2", "other run"), done, Ended("b", "1", "run")]
    assert StoredConversation.of([CALLING, mine, CALLING, other, *ends]).ended == ((mine, done), (other, failed))
    kept = StoredConversation.of([CALLING, CALLING, mine, ToolMessage("b", "refused", "refused"), *ends])
    assert kept.ended == ((mine, done),)  # what the other run answered without a start is not its result
    nested = Ended("b", "1", "run", done)
    assert StoredConversation.of([mine, nested, Ended("c", "3", "run")]) == ((), (), ((mine, done),), 3)
