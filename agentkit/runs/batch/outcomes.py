"""The outcomes of a batch, and their lines in a journal."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from agentkit.core import codec
from agentkit.core.errors import AgentkitError, BatchFailed, StoredFailure
from agentkit.core.json import decode, encode, object_of
from agentkit.core.messages import Usage
from agentkit.core.state import State, Stop
from agentkit.runs.finish import answer_of
from agentkit.runs.output import Output
from agentkit.runs.plan import Plan
from agentkit.runs.result import Result

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Mapped(Generic[T_co]):
    """The outcome of one input: a result, or the error that ended its run.

    Attributes:
        index: The index of the input; the first is 0.
        key: The key of the input in the journal.
        result: The result. From a journal it has its output, stop and usage, but no messages and steps.
        error: The error that ended the run; from a journal it is a `StoredFailure`.
        stored: Whether the outcome comes from the journal, and nothing ran.
        seconds: How long its run took; `None` if it is stored.
    """

    index: int
    key: str
    result: Result[T_co] | None = None
    error: Exception | None = None
    stored: bool = False
    seconds: float | None = None

    @property
    def output(self) -> T_co:
        """The output of the result.

        Raises:
            Exception: The error, if there is no result.
        """
        if self.result is None:
            raise self.error or AgentkitError("there is no result")
        return self.result.output

    @property
    def failure(self) -> str | None:
        """The kind of the error, the name of its class; `None` if there is a result."""
        if self.error is None:
            return None
        return self.error.kind if isinstance(self.error, StoredFailure) else type(self.error).__name__


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of a batch so far.

    Attributes:
        done: How many inputs have a result.
        stored: How many of the outcomes come from the journal.
        paused: How many wait for approval. The next run of the batch runs them again.
        failures: How many failed, by the kinds of errors.
        usage: The usage of the whole batch, with the earlier runs in the journal.
        stopped: Why the batch stopped early: a limit, or an error that every input would have.
    """

    done: int = 0
    stored: int = 0
    paused: int = 0
    failures: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    usage: Usage = field(default_factory=Usage)
    stopped: AgentkitError | None = None

    @property
    def failed(self) -> int:
        """How many failed."""
        return sum(self.failures.values())

    @property
    def ended(self) -> int:
        """How many inputs have an outcome."""
        return self.done + self.paused + self.failed

    def __str__(self) -> str:
        parts = [f"{self.done:,} done" + (f" ({self.stored:,} before)" if self.stored else "")]
        if self.paused:
            parts.append(f"{self.paused:,} wait for approval")
        if self.failed:
            kinds = ", ".join(f"{many:,} {kind}" for kind, many in self.failures.items())
            parts.append(f"{self.failed:,} failed ({kinds})")
        parts.append(f"{self.usage.requests:,} request{'' if self.usage.requests == 1 else 's'}")
        if self.usage.total_tokens is not None:
            parts.append(f"{self.usage.total_tokens:,} tokens")
        if self.usage.cost is not None:
            parts.append(f"cost {self.usage.cost:.4g}")
        return ", ".join(parts) + (f"; stopped: {self.stopped}" if self.stopped else "")

    def plus(self, mapped: Mapped[Any]) -> "Summary":
        """Return the counts with one more outcome."""
        failures, waits = self.failures, mapped.result is not None and mapped.result.stop == "paused"
        if mapped.failure is not None:
            failures = {**failures, mapped.failure: failures.get(mapped.failure, 0) + 1}
        return replace(
            self,
            done=self.done + (mapped.result is not None and not waits),
            stored=self.stored + mapped.stored,
            paused=self.paused + waits,
            failures=failures,
        )


@dataclass(frozen=True, slots=True)
class Batched(Generic[T_co]):
    """The outcomes of a batch, in the order of the inputs. Iterating yields them.

    Attributes:
        all: An outcome per input that was begun.
        summary: The counts.
    """

    all: tuple[Mapped[T_co], ...]
    summary: Summary

    def __iter__(self) -> Iterator[Mapped[T_co]]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def outputs(self) -> list[T_co]:
        """The output per input, in order.

        Raises:
            BatchFailed: If an input failed, or the batch stopped early.
        """
        self.raise_failures()
        return [mapped.output for mapped in self.all]

    @property
    def failed(self) -> tuple[Mapped[T_co], ...]:
        """The outcomes with an error."""
        return tuple([mapped for mapped in self.all if mapped.error is not None])

    def raise_failures(self) -> None:
        """Raise if something went wrong.

        Raises:
            BatchFailed: If an input failed, or the batch stopped early.
        """
        errors = tuple([mapped.error for mapped in self.all if mapped.error is not None])
        if errors or self.summary.stopped is not None:
            first = self.summary.stopped or errors[0]
            raise BatchFailed(f"{self.summary}; the first error: {first}", errors) from first


def line_of(mapped: Mapped[Any], plan: Plan, *, again: bool = False) -> dict[str, object]:
    """Return the line of the journal for an outcome; `again` if the input runs again in any case."""
    if mapped.result is None:
        partial = getattr(mapped.error, "partial", None)
        error = {"kind": mapped.failure, "text": codec.write(str(mapped.error))}
        spent = {} if partial is None else {"usage": codec.write(partial.usage)}
        return {"key": mapped.key, "error": error, **spent, **({"again": True} if again else {})}
    result = mapped.result
    return {"key": mapped.key, **_written_output(result, plan), "stop": result.stop, "usage": codec.write(result.usage)}


def mapped_of(line: Mapping[str, object], index: int, key: str, plan: Plan) -> Mapped[Any] | None:
    """Read an outcome from the journal; `None` if it has no output of the type that the plan wants."""
    if "error" in line:
        error = object_of(line["error"])
        failure = StoredFailure(str(codec.read(object, error.get("text"))), str(error.get("kind")))
        return Mapped(index, key, error=failure, stored=True)
    try:
        output = _read_output(line, plan.output)
        stop: Stop = codec.read(cast("Any", Stop), line.get("stop"))
        usage = codec.read(Usage, line.get("usage", {}))
    except (ValueError, LookupError):
        return None
    return Mapped(index, key, Result(output, (), (), usage, stop), stored=True)


def _written_output(result: Result[Any], plan: Plan) -> dict[str, object]:
    """Return an output as JSON, in a form that is read back as the same output."""
    if plan.output is None or result.stop == "paused":
        return {"output": codec.write(result.output)}
    text = _typed_answer(result, plan)
    try:
        data = decode(text)
        output = codec.write(object_of(data)["answer"] if plan.output.wrapped else data)
        if _read_output({"output": output}, plan.output) == result.output:
            return {"output": output}
    except (ValueError, LookupError):  # the text was repaired before it was read
        pass
    return {"written": codec.write(text)}


def _typed_answer(result: Result[Any], plan: Plan) -> str:
    """Return the model's typed answer as the model wrote it."""
    state = replace(State.of(result.messages, plan.stop_at), steps=result.steps)
    if (reply := state.open_reply) is not None and (ending := state.ending) is not None:
        return next(call.arguments for call in reply.tool_calls if call.id == ending.tool_call_id)
    return answer_of(state)


def _read_output(line: Mapping[str, object], output: Output[Any] | None) -> object:
    """Read the output of a line: `LookupError` if there is none, `ValueError` if it is not of the agent's type."""
    written = line["written"] if "written" in line else line["output"]
    if output is None:
        return codec.read(str, written)
    value = codec.read(object, written)
    if "written" in line:
        return output.read(str(value))
    return output.read(encode({"answer": value} if output.wrapped else value).decode())
