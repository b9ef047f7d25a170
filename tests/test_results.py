from agentkit import AssistantMessage, Result, Step, ToolCall, ToolChoice, ToolMessage, Usage, UserMessage

CALL = ToolCall("c0", "search", '{"query": "a long question about ' + "many " * 40 + 'things"}')


def result(usage: Usage) -> Result[str]:
    steps = (
        Step(AssistantMessage("Let me see.", (CALL,)), ToolChoice("required"), "first(required, then=auto)"),
        Step(AssistantMessage("Done."), ToolChoice("auto"), "first(required, then=auto)"),
    )
    messages = (UserMessage("go"), steps[0].message, ToolMessage("c0", "found\nit"), steps[1].message)
    return Result("Done.", messages, steps, usage, start=1)


def test_a_run_is_explained_in_lines_that_a_person_reads() -> None:
    lines = result(Usage(2, 1000, 234)).explain().splitlines()
    assert lines[0] == "1. required (by first(required, then=auto))"
    assert lines[1] == "   said Let me see."
    assert lines[2].startswith('   called search({"query": "a long question')
    assert lines[2].endswith("…)")
    assert lines[3:] == [
        "   ok: found it",
        "2. auto (by first(required, then=auto))",
        "   said Done.",
        "Ended with an answer after 2 requests, 1,234 tokens.",
    ]


def test_what_is_not_known_is_not_told() -> None:
    assert result(Usage(2)).explain().splitlines()[-1] == "Ended with an answer after 2 requests."


def test_the_new_messages_are_those_of_the_run() -> None:
    assert result(Usage()).new_messages == result(Usage()).messages[1:]
    assert result(Usage()).violations == 0
