"""What is stored, as the viewer shows it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, cast

from agentkit.cli.session_argument import split_session_argument
from agentkit.cli.stored import KINDS, SavedBatch, SavedCassette, SavedResult, Stored, read_stored
from agentkit.core.choice import ToolChoice
from agentkit.core.codec import read
from agentkit.core.dicts import loads
from agentkit.core.errors import ConfigurationError, InvalidRequest, ModelError
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, Usage
from agentkit.core.printable import format_call
from agentkit.core.session import Ended, Started, StoredConversation
from agentkit.core.session_lines import entries_of
from agentkit.testing.recordings import Recording
from agentkit.viewer import Json, run_of, usage_facts


@dataclass(frozen=True, slots=True)
class Shown:
    """A run to be shown, with its conversation for the policy's graph."""

    run: Json
    messages: Sequence[Message] = ()
    start: int = 0


@dataclass(slots=True)
class Seen:
    """When the messages of a conversation that is followed were seen first, in seconds since the first look."""

    _began: float = field(default_factory=monotonic)
    _count: int | None = None
    _times: dict[int, float] = field(default_factory=dict[int, float])

    def times_of(self, count: int) -> Mapping[int, float]:
        """Note that there are so many messages now. Those of the first look have no time."""
        for at in range(count if self._count is None else self._count, count):
            self._times[at] = round(monotonic() - self._began, 3)
        self._count = count
        return self._times


async def load_shown(text: str, store: str | None = None, seen: Seen | None = None) -> Shown:
    """Read what is to be shown: the durable run of an id, if there is a store, or what is in a file.

    Args:
        text: The id, or the file.
        store: The store of durable runs.
        seen: When the messages were seen first, of a conversation that is followed.
    """
    if store is not None and not split_session_argument(text)[0].exists():
        return await _durable(text, store)
    name, stored = await read_stored(text, "view")
    shown = _shown(stored, seen)
    shown.run["title"] = name or text
    return shown


def _shown(stored: Stored, seen: Seen | None) -> Shown:
    match stored:
        case StoredConversation():
            return _conversation(stored, seen)
        case SavedResult():
            return _result(stored.data, stored.path)
        case SavedCassette():
            return Shown(_cassette(stored.model, stored.recordings))
        case SavedBatch():
            return Shown(_batch(stored.lines))
        case _:
            return Shown(run_of(stored.messages), stored.messages)


def _conversation(stored: StoredConversation, seen: Seen | None) -> Shown:
    if not stored.messages and seen is None:
        raise ConfigurationError(f"there is no conversation in the file; give {KINDS}")
    steps, calls = _times_of(stored.messages, {} if seen is None else seen.times_of(len(stored.messages)))
    run = run_of(stored.messages, steps, calls)
    for call in stored.started:
        text = f"{format_call(ToolCall('', call.name, call.arguments))} had started, and has no result"
        list_of(run["items"]).append({"kind": "note", "text": text})
    return Shown(run, stored.messages)


def _times_of(messages: Sequence[Message], seen: Mapping[int, float]) -> tuple[list[Json], dict[tuple[int, str], Json]]:
    """Return the times of a conversation that is followed: a message took from the one before it until it was seen."""
    steps, calls, asked = list[Json](), dict[tuple[int, str], Json](), 0.0
    for at, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            asked = seen.get(at, 0.0)
            before = seen.get(at - 1, 0.0)
            steps.append({"began": before, "seconds": asked - before} if at in seen else {})
        elif isinstance(message, ToolMessage) and at in seen:
            calls[len(steps) - 1, message.tool_call_id] = {"began": asked, "seconds": seen[at] - asked}
    return steps, calls


def _result(data: dict[str, Any], path: Path) -> Shown:
    try:
        messages = loads(json.dumps(data["messages"]))
        start = int(data.get("start", 0))
        steps = [_step(object_of(step)) for step in list_of(data.get("steps"))]
        calls = {(int(str(call["step"])), str(call["id"])): call for call in map(object_of, list_of(data.get("calls")))}
        usage = usage_facts(read(Usage, data.get("usage", {})))
    except (InvalidRequest, LookupError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} is not output of `agentkit run --json`: {error}") from error
    error_text = object_of(data.get("error")).get("text")
    facts = {name: data.get(name) for name in ("agent", "model", "seconds", "stop")}
    return Shown(run_of(messages, steps, calls, start=start, usage=usage, error=error_text, **facts), messages, start)


def _step(step: Json) -> Json:
    """Return what the output of `agentkit run --json` says of a step."""
    names = {"by": "decided_by", "finish": "finish_reason"}
    facts = {name: step.get(names.get(name, name)) for name in ("choice", "by", "policy", "violation", "finish")}
    facts |= {"usage": usage_facts(read(Usage, step.get("usage", {})))}
    facts |= {name: step[name] for name in ("began", "seconds", "retried") if name in step}
    facts["by"] = facts["by"] or facts["policy"]
    return {name: value for name, value in facts.items() if value is not None}


def _cassette(model: str, recordings: Sequence[Recording]) -> Json:
    """Return recordings. Requests that continue one another are one conversation; its last messages are the whole."""
    items: list[object] = []
    usage = Usage()
    messages: tuple[Message, ...] = ()
    steps: list[Json] = []
    failed: list[Json] = []

    def end_conversation() -> None:
        items.extend(
            list_of(run_of(messages, steps, start=len(messages) - _since_reply(messages, len(steps)))["items"])
        )
        items.extend({"kind": "step", **failure} for failure in failed)
        steps.clear()
        failed.clear()

    for number, recording in enumerate(recordings):
        asked = loads(json.dumps([line["message"] for line in recording.asked if "message" in line]))
        if number and asked[: len(messages)] != messages:
            end_conversation()
            items.append({"kind": "note", "text": "another conversation"})
        choice = object_of(recording.asked[0]["request"]).get("tool_choice")
        facts: Json = {} if choice is None else {"choice": _wire_choice(choice)}
        if isinstance(recording.outcome, ModelError):
            messages = asked
            failed.append({"error": f"{type(recording.outcome).__name__}: {recording.outcome}", **facts})
            continue
        reply = recording.outcome
        messages = (*asked, reply.message)
        usage += reply.usage or Usage(1)
        retried = [{"error": failure["error"]} for failure in failed]
        facts |= {"usage": usage_facts(reply.usage or Usage(1)), **({"retried": retried} if retried else {})}
        steps.append(facts | ({"finish": reply.finish_reason} if reply.finish_reason else {}))
        failed.clear()
    end_conversation()
    return {"model": model, "usage": usage_facts(usage), "items": items}


def _since_reply(messages: Sequence[Message], count: int) -> int:
    """Return how many messages there are from the reply on that is the last but `count`."""
    replies = [at for at, message in enumerate(messages) if isinstance(message, AssistantMessage)]
    return len(messages) - replies[-count] if count else 0


def _wire_choice(choice: object) -> str:
    return str(object_of(object_of(choice).get("function")).get("name") or choice)


def _batch(lines: Sequence[Json]) -> Json:
    """Return the outcomes of a batch's journal, in the order in which they came. A later run of an input counts."""
    outcomes: dict[object, Json] = {}
    usage = Usage()
    for line in lines:
        if "key" not in line:
            continue
        key, spent = line["key"], read(Usage, line.get("usage", {}))
        usage += spent
        error = object_of(line.get("error"))
        facts: Json = {"kind": "outcome", "key": key, "usage": usage_facts(spent)}
        if error:
            facts["error"] = f"{error.get('kind')}: {read(object, error.get('text'))}"
        elif "started" not in line:
            written = read(object, line.get("written", line.get("output")))
            text = written if isinstance(written, str) else json.dumps(written, ensure_ascii=False, default=str)
            facts |= {"stop": line.get("stop"), "output": text}
        outcomes[key] = facts
    return {"usage": usage_facts(usage), "items": [*outcomes.values()]}


async def _durable(run_id: str, store: str) -> Shown:
    """Read the records of a durable run."""
    durable: Any = import_module("agentkit.cli.durable_runs")  # it needs an extra
    info, prompt, records = await durable.read_run(run_id, store)
    messages: list[Message] = [*prompt]
    steps, calls, begun = list[Json](), dict[tuple[int, str], Json](), dict[str, float]()
    last = replied = 0.0
    for record in records:
        lines = [("a record of the run", json.dumps(entry)) for entry in list_of(record.get("entries"))]
        entries, seconds = [*entries_of(lines)], cast("float", record.get("seconds", last))
        if "choice" in record:
            steps.append(_recorded_step(record, last, seconds))
            replied = seconds
            begun.clear()
        for entry in entries:
            if isinstance(entry, Started):
                begun[entry.call_id] = seconds
            elif isinstance(entry, ToolMessage) and "choice" not in record:
                began = begun.get(entry.tool_call_id, replied)
                calls[len(steps) - 1, entry.tool_call_id] = {"began": began, "seconds": round(seconds - began, 3)}
        messages += [entry for entry in entries if not isinstance(entry, Started | Ended)]
        last = seconds
    budget = object_of(records[-1].get("budget")) if records else {}
    usage = usage_facts(read(Usage, budget.get("usage", {})))
    facts: Json = {"title": run_id, "agent": info.agent, "stop": info.state, "usage": usage, "seconds": last}
    return Shown(run_of(messages, steps, calls, start=len(prompt), **facts), messages, len(prompt))


def _recorded_step(record: Json, began: float, ended: float) -> Json:
    reply = object_of(record.get("reply"))
    return {
        "choice": str(read(ToolChoice, record["choice"])),
        "by": record["by"],
        "usage": usage_facts(read(Usage, reply.get("usage") or {})),
        "began": began,
        "seconds": round(ended - began, 3),
    }
