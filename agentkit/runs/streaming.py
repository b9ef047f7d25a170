"""Text and typed answers while the model writes them."""

from agentkit.core.assembly import Assembly
from agentkit.core.chat import ChatChunk, StreamedText, delta_of, first_choice
from agentkit.core.json import whole
from agentkit.core.reasoning import reasoning_of
from agentkit.core.reply_limits import ReplyLimits
from agentkit.runs.events import AnswerDelta, Emit, ReasoningDelta, TextDelta
from agentkit.runs.output import Output
from agentkit.runs.plan import Plan

_GROWTH = 20
_UNLIMITED = ReplyLimits.unlimited()  # the model checks its own limits


class DeltaEmitter:
    """Takes the chunks of a streamed reply and emits `TextDelta`, `ReasoningDelta` and `AnswerDelta` events.

    It emits nothing if a selector picks one of several answers.
    """

    def __init__(self, plan: Plan, emit: Emit) -> None:
        self._silent = plan.selector is not None
        self._emit = emit
        self._run_id = plan.scope.run_id
        self._output = plan.output
        self._tools = plan.toolbox.names
        self._told = False
        self._last: object = None
        self._begin()

    def _begin(self) -> None:
        self._assembly = Assembly(self._tools, _UNLIMITED)
        self._text = StreamedText()
        self._chunks = 0
        self._next = 1

    def restart(self) -> bool:
        """Begin again, if no text and nothing of an answer was emitted; see `restart` in `agentkit.core.model`."""
        if not self._told:
            self._begin()
        return not self._told

    def __call__(self, chunk: ChatChunk) -> None:
        if self._silent:
            return
        choice = first_choice(chunk)
        if text := self._text.add(choice):
            self._told = True
            self._emit(TextDelta(text, run_id=self._run_id))
        elif reasoning := whole(reasoning_of(delta_of(choice))):
            self._told = True
            self._emit(ReasoningDelta(reasoning, run_id=self._run_id))
        if self._output is not None:
            self._assembly.add(chunk)
            self._chunks += 1
            if self._chunks >= self._next:
                # Each parse reads the whole answer so far, so they become rarer: the total stays linear in its length.
                self._next = self._chunks + 1 + self._chunks // _GROWTH
                self._emit_answer(self._output)

    def _emit_answer(self, output: Output[object]) -> None:
        if output.final is None:
            written = self._assembly.text
        else:
            calls = self._assembly.calls
            written = calls[0].arguments if len(calls) == 1 and calls[0].name == output.final.name else ""
        # A character may be half there, and a number too.
        value = output.beginning(_without_last_number(written.removesuffix("\ufffd")))
        if value is not None and value != self._last:
            self._last = value
            self._told = self._told or bool(value)
            self._emit(AnswerDelta(value, run_id=self._run_id))


def _without_last_number(written: str) -> str:
    """Drop a number at the end of partial JSON: 1 may become 12."""
    rest = written.rstrip("+-.0123456789Ee")
    return rest if rest.rstrip().endswith((":", ",", "[")) else written
