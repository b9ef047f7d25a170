"""The result of a run, and the story of how it came about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.printable import PROSE, format_call, one_line, printable
from agentkit.core.state import State, Step, Stop
from agentkit.runs.events import TimedEvent

if TYPE_CHECKING:
    from agentkit.tool_choice.analysis import Governed

_MAX_LINE = 100
T_co = TypeVar("T_co", covariant=True)

_ENDED: Mapping[Stop, str] = {
    "answer": "an answer",
    "tool": "a tool's result",
    "limit": "an answer at a limit",
    "cut": "a truncated answer",
    "refusal": "a refusal",
    "empty": "nothing said",
    "paused": "calls that wait for approval",
    "stopped": "a stop",
}


# What the results of other frameworks have.
_INSTEAD = {
    **dict.fromkeys(("text", "data", "content", "final_output", "answer", "value", "raw"), "output"),
    **dict.fromkeys(("all_messages", "history", "to_input_list"), "messages"),
    **dict.fromkeys(("tool_calls", "interruptions"), "pending, or result.steps"),
    "total_tokens": "usage.total_tokens",
    "cost": "usage.cost",
}


@dataclass(frozen=True, slots=True)
class Result(Generic[T_co]):
    """The result of a run.

    Attributes:
        output: The answer, or the result of the tool that ended the run, or the text of a refusal; `""` if the run is
            paused. If it was stopped, what the model wrote beside its last calls, or `""`.
        messages: The whole history, ready to be continued: `agent.run([*result.messages, UserMessage("And Rome?")])`.
        steps: The requests that the run made, in order.
        usage: What they cost together.
        stop: Why the run ended.
        start: How many of the messages were there before the run.
        unread: Messages that were sent to the run and that it did not come to read, because it is paused or reached a
            limit. Send them with the next run, or `agent.resume([*result.messages, *result.unread], decisions)`.
        events: What happened, each event with the seconds since the run began: all but the pieces of streams, without
            requests and errors. Empty for a result that was stored.
    """

    output: T_co
    messages: tuple[Message, ...]
    steps: tuple[Step, ...]
    usage: Usage
    stop: Stop = "answer"
    start: int = 0
    unread: tuple[UserMessage, ...] = ()
    events: tuple[TimedEvent, ...] = field(default=(), compare=False, repr=False)

    if not TYPE_CHECKING:  # checkers say themselves what a result has not

        def __getattr__(self, name: str) -> NoReturn:
            known = f"; write result.{_INSTEAD[name]}" if name in _INSTEAD else ""
            raise AttributeError(f"a result has no {name!r}{known}")

    def __str__(self) -> str:
        """Return the output; of a paused run, the calls that wait."""
        if self.stop != "paused":
            return str(self.output)
        return "\n".join([f"waits for approval: {format_call(call)}" for call in self.pending])

    def _repr_html_(self) -> str:
        """Return the form that a notebook shows: the output, and folded below it how it came about."""
        from html import escape  # noqa: PLC0415 (it loads the names of 2,000 characters)

        said, told = escape(printable(str(self), PROSE)), escape(self.explain())
        whole = "<p>The whole run, as a page: <code>open('run.html', 'w').write(result.to_html())</code></p>"
        return f"<pre>{said}</pre><details><summary>Steps</summary><pre>{told}</pre>{whole}</details>"

    def to_html(self, agent: "Governed | None" = None) -> str:
        """Return the run as one HTML page that needs no network: its time line, steps, messages, calls, and usage.

            Path("run.html").write_text(result.to_html(agent), encoding="utf-8")

        The page has everything that was said in the run. Keys in the environment of this process are masked.

        Args:
            agent: The agent that ran, for the graph of its policy with the way of this run in it.
        """
        from agentkit.runs.timeline import recorded_run  # noqa: PLC0415 (few programs show runs)
        from agentkit.viewer import graph_of, page_of, usage_facts  # noqa: PLC0415 (as above)

        more = None if agent is None else {"graph": graph_of(agent, self.messages, self.start)}
        facts = {"stop": self.stop, "usage": usage_facts(self.usage)}
        run = recorded_run(self.messages, self.steps, self.events, self.start, **facts)
        return page_of([run], more, title=f"A run of {run.get('agent', 'an agent')}")

    @property
    def new_messages(self) -> tuple[Message, ...]:
        """The messages that the run added."""
        return self.messages[self.start :]

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """The calls that wait for approval. Decide on each, then call `agent.resume`."""
        return State.of(self.messages).unanswered if self.stop == "paused" else ()

    @property
    def violations(self) -> int:
        """How many replies were rejected: they broke the tool choice, were truncated, empty or of the wrong type."""
        return sum(step.violation is not None for step in self.steps)

    def _results_by_step(self) -> list[dict[str, ToolMessage]]:
        """Return the tool results of each step by call id; an id is unique within one reply only."""
        steps: list[dict[str, ToolMessage]] = []
        for message in self.new_messages:
            if isinstance(message, AssistantMessage):
                steps.append({})
            elif isinstance(message, ToolMessage) and steps:
                steps[-1][message.tool_call_id] = message
        return steps

    def explain(self) -> str:
        """Describe the run for people, in a few lines per step."""
        lines: list[str] = []
        for number, (step, results) in enumerate(zip(self.steps, self._results_by_step(), strict=True), 1):
            lines.append(f"{number}. {step.choice} (by {step.decided_by})")
            if step.message.reasoning:
                lines.append(f"   thought {one_line(step.message.reasoning, _MAX_LINE)}")
            if step.message.content:
                lines.append(f"   said {one_line(step.message.content, _MAX_LINE)}")
            if step.message.refusal:
                lines.append(f"   refused: {one_line(step.message.refusal, _MAX_LINE)}")
            for call in step.message.tool_calls:
                result = results.get(call.id)
                how = "known, not asked:" if step.known else "called"
                lines.append(f"   {how} {call.name}({one_line(call.arguments, _MAX_LINE)})")
                by = f" by {result.by}" if result is not None and result.by else ""
                ended = (
                    "waits for approval"
                    if result is None
                    else f"{result.outcome}{by}: {one_line(result.content, _MAX_LINE)}"
                )
                lines.append(f"   {ended}")
            if step.violation is not None:
                lines.append(f"   rejected: {step.violation}; asked again")
        cost = "" if self.usage.total_tokens is None else f", {self.usage.total_tokens:,} tokens"
        asked = self.usage.requests  # with those of wrappers and sub-agents
        requests = f"{asked} request{'' if asked == 1 else 's'}"
        lines = [printable(line) for line in lines]
        return "\n".join([*lines, f"Ended with {_ENDED[self.stop]} after {requests}{cost}."])
