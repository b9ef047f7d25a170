import io

import pytest
from rich.console import Console

from agentkit import AssistantMessage, ToolCall, ToolChoice, ToolMessage, Usage, UserMessage
from agentkit.cli.live_view import QUIET, USUAL, VERBOSE, LiveView, console_for, print_answer, print_line
from agentkit.core.chat import ChatRequest
from agentkit.core.repair import Repair
from agentkit.core.state import Step, Violation
from agentkit.runs import events
from agentkit.runs.events import (
    Event,
    Nested,
    ReasoningDelta,
    RunFinished,
    StepStarted,
    TextDelta,
    ToolFinished,
    ToolStarted,
)

CALL = ToolCall("1", "f", '{"city": "Paris"}')
AUTO = ToolChoice("auto")
KNOWN = ToolChoice("tool", "f", arguments="{}")
REQUEST = ChatRequest((UserMessage("Hello"),))
TAKEN = Step(AssistantMessage("Hi"), AUTO, "auto", usage=Usage(1, 10, 5))
BROKEN = Step(AssistantMessage("Hi"), AUTO, "auto", violation=Violation("tool_choice", "it did not call"))
REJECTED = "rejected: it did not call; asking again"


class Odd:
    def __str__(self) -> str:
        raise RuntimeError


EVENTS: list[tuple[Event, str, str]] = [
    (StepStarted(0, AUTO, REQUEST), "", "step 0: request, tool choice auto\n"),
    (StepStarted(0, KNOWN, None), "", "step 0: known call, tool choice f\n"),
    (events.StepFinished(BROKEN), f"{REJECTED}\n", f"{REJECTED}\nstep: 1 request"),
    (events.StepFinished(TAKEN), "", "step: 1 request, 15 tokens, "),
    (events.HistoryRepaired(Repair("moved", 1, "an answer")), "", "history repaired: moved, an answer\n"),
    (events.MessageReceived(UserMessage("and\nRome")), "received: and Rome\n", "received: and Rome\n"),
    (events.ArgumentsRepaired(CALL, (("city", "a list"),)), "", "repaired f: city: a list\n"),
    (events.ApprovalNeeded(CALL), "", ""),
    (events.ApprovalNeeded(CALL, started=True), "f had started when the program stopped; it may have run\n", "f had started"),
    (ToolStarted(CALL), '→ f(city="Paris")\n', '→ f(city="Paris")\n'),
    (ToolStarted(ToolCall("1", "f", f'{{"a": "{"x" * 300}"}}')), f'→ f(a="{"x" * 195}…\n', f'→ f(a="{"x" * 300}")\n'),
    (events.ToolProgress(CALL, 3), "… f 3\n", "… f 3\n"),
    (events.ToolProgress(CALL, Odd()), "… f <Odd>\n", "… f <Odd>\n"),
    (ToolFinished(CALL, ToolMessage("1", "a\nb"), 0.5), "← f 0.50 s a b\n", "← f 0.50 s a b\n"),
    (ToolFinished(CALL, ToolMessage("1", "no", "error")), "← f error 0.00 s no\n", "← f error 0.00 s no\n"),
    (ToolFinished(CALL, ToolMessage("1", "x" * 300)), f"← f 0.00 s {'x' * 200}…\n", f"← f 0.00 s {'x' * 300}\n"),
    (Nested(CALL, Nested(CALL, ToolStarted(CALL))), '    → f(city="Paris")\n', '    → f(city="Paris")\n'),
    (Nested(CALL, TextDelta("Hi")), "", ""),
    (RunFinished("answer", Usage(1)), "", "answer: 1 request\n"),
    (RunFinished(None, Usage(1), ValueError()), "", "failed: 1 request\n"),
    (RunFinished(None, Usage(1), KeyboardInterrupt()), "", "stopped: 1 request\n"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "usual", "verbose"), EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_shown_in_a_line(event: Event, usual: str, verbose: str) -> None:
    for verbosity, wanted in ((QUIET, ""), (USUAL, usual), (VERBOSE, verbose)):
        out, err = io.StringIO(), io.StringIO()
        LiveView(out, console_for(err), verbosity)(event)
        assert out.getvalue() == ""
        assert err.getvalue().startswith(wanted)
        assert bool(err.getvalue()) == bool(wanted)


def test_text_comes_as_it_is_written_and_calls_stand_on_lines_of_their_own() -> None:
    both = io.StringIO()
    shown = LiveView(both, console_for(both))
    texts = [TextDelta("Let me "), TextDelta("see\x1b")]
    before: list[Event] = [StepStarted(0, AUTO, REQUEST), *texts, ToolStarted(CALL), TextDelta("")]
    for event in before:
        shown(event)
    assert both.getvalue() == 'Let me see\\u001b\n→ f(city="Paris")\n'
    for event in (StepStarted(1, AUTO, REQUEST), TextDelta("It rains.\n"), ToolStarted(CALL)):
        shown(event)
    assert both.getvalue().endswith(')\nIt rains.\n→ f(city="Paris")\n')
    assert shown.text == "It rains.\n"
    shown(Nested(CALL, StepStarted(0, AUTO, REQUEST)))
    assert shown.text == "It rains.\n"
    shown(TextDelta("On"))
    shown.end_line()
    shown.end_line()
    assert both.getvalue().endswith(")\nOn\n")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_markdown_and_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, err = Screen(), Screen()
    view = LiveView(out, Console(file=err, force_terminal=True, width=40))
    waits = view.activity._waits
    for event, keys in (
        (events.RunStarted("a", "gpt\x1b", None, None, streamed=True), []),
        (Nested(CALL, events.RunStarted("b", "other", None, None, streamed=True)), []),
        (StepStarted(0, KNOWN, None), []),
        (StepStarted(0, AUTO, REQUEST), ["model"]),
        (Nested(CALL, StepStarted(0, AUTO, REQUEST)), ["model"]),
        (Nested(CALL, events.StepFinished(TAKEN)), ["model"]),
        (TextDelta("Let me **see**"), []),
        (events.StepFinished(TAKEN), []),
        (ToolStarted(CALL), ["1"]),
        (Nested(CALL, ToolStarted(CALL)), ["1"]),
        (Nested(CALL, ToolFinished(CALL, ToolMessage("1", "x"))), ["1"]),
        (ToolFinished(CALL, ToolMessage("1", "x")), []),
        (StepStarted(1, AUTO, REQUEST), ["model"]),
        (RunFinished(None, Usage(1), ValueError()), []),
    ):
        view(event)
        assert list(waits) == keys, event
    view.close()
    assert "Let me \x1b[1msee\x1b[0m\n" in out.getvalue()
    out.truncate(0)
    print_answer(out, "- a **list**")
    assert "•" in out.getvalue()
    out.truncate(0)
    print_answer(out, "")
    assert out.getvalue().strip("\0") == ""


def test_what_an_observer_of_the_agent_printed_is_not_shown_again() -> None:
    err = io.StringIO()
    view = LiveView(None, console_for(err))
    other = ToolCall("2", "g", "{}")
    for event, printed in (
        (ToolStarted(CALL), "calling f"), (ToolStarted(other), ""),
        (ToolFinished(CALL, ToolMessage("1", "light rain")), "got light\nrain"),
        (ToolFinished(other, ToolMessage("2", "no")), "no"),
    ):  # fmt: skip
        view.printed.write(printed)
        view(event)
    assert err.getvalue() == "calling f→ g()\ngot light\nrainno← g 0.00 s no\n"


def test_without_an_output_no_text_is_shown_and_usage_is_added_up() -> None:
    err = io.StringIO()
    view = LiveView(None, console_for(err))
    view(TextDelta("Hello"))
    view.open = True
    view.end_line()
    assert (err.getvalue(), view.text) == ("", "")
    view(RunFinished("answer", Usage(1, 10, 5)))
    view(Nested(CALL, RunFinished("answer", Usage(9))))
    view(RunFinished("cut", Usage(2)))
    assert view.usage == Usage(3, 10, 5)


def test_lines_are_cut_at_the_width_of_a_terminal_and_have_no_markup() -> None:
    terminal, err = io.StringIO(), io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=20, color_system=None, legacy_windows=False)
    print_line(console, "x" * 30)
    assert terminal.getvalue() == "x" * 19 + "…\n"
    print_line(console, "y" * 30, full_width=True)
    assert terminal.getvalue().endswith(f"\n{'y' * 30}\n")  # which the terminal itself wraps
    print_line(console_for(err), "[bold]:smile:", (" [red]x", "red"))
    assert err.getvalue() == "[bold]:smile: [red]x\n"


def test_reasoning_is_dimmed_and_ends_before_the_answer() -> None:
    out, err = io.StringIO(), io.StringIO()
    view = LiveView(out, Console(file=err, force_terminal=True, color_system="standard"))
    for event in (ReasoningDelta("Hm. "), ReasoningDelta("So.\x1b[2J"), TextDelta("Rome."), ReasoningDelta("Then?")):
        view(event)
    view(ToolStarted(CALL))
    assert out.getvalue() == "Rome.\n"
    assert "\x1b[2mHm. \x1b[0m\x1b[2mSo.\\u001b[2J\x1b[0m\n" in err.getvalue()
    assert err.getvalue().count("\n") == 3
    for quiet in (LiveView(None, view.err), LiveView(out, view.err, QUIET)):
        quiet(ReasoningDelta("Not shown."))
    view(Nested(CALL, ReasoningDelta("Not shown.")))
    assert "Not shown." not in err.getvalue()
