"""What a streamed reply tells while it is written."""

from sys import maxsize

from agentkit.core.assembly import Assembly
from agentkit.core.chat import ChatChunk
from agentkit.core.reply_limits import ReplyLimits
from agentkit.runs.events import AnswerDelta, Emit, TextDelta
from agentkit.runs.output import Output
from agentkit.runs.plan import Plan

_GROWTH = 20
_ANY = ReplyLimits(*[maxsize] * 6)  # the model holds its replies to reply_limits


class Telling:
    """Takes the chunks of a reply, and tells what they add to its text, or to a typed answer.

    Where one of several answers is to be picked, nothing is told before that.

    Args:
        plan: What the run goes by.
        emit: Takes the events.
    """

    def __init__(self, plan: Plan, emit: Emit) -> None:
        self._silent = plan.selector is not None
        self._emit = emit
        self._output = plan.output
        self._assembly = Assembly(plan.toolbox.names, _ANY)
        self._chunks = 0
        self._next = 1
        self._told: object = None

    def __call__(self, chunk: ChatChunk) -> None:
        """Take the next chunk."""
        if self._silent:
            return
        if text := chunk.text:
            self._emit(TextDelta(text))
        if self._output is not None:
            self._assembly.add(chunk)
            self._chunks += 1
            if self._chunks >= self._next:
                # What is written is read again and again, so ever more rarely: in all, in time that grows with it.
                self._next = self._chunks + 1 + self._chunks // _GROWTH
                self._partial(self._output)

    def _partial(self, output: Output[object]) -> None:
        if output.final is None:
            written = self._assembly.text
        else:
            calls = self._assembly.calls
            written = calls[0].arguments if len(calls) == 1 and calls[0].name == output.final.name else ""
        value = output.beginning(_without_number(written))
        if value is not None and value != self._told:
            self._told = value
            self._emit(AnswerDelta(value))


def _without_number(written: str) -> str:
    """Leave out a number at the end of what is written: 1 may become 12."""
    rest = written.rstrip("+-.0123456789Ee")
    return rest if rest.rstrip().endswith((":", ",", "[")) else written
