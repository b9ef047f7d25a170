"""`agentkit replay`: print a stored conversation."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from agentkit.cli.exit_codes import ExitCode
from agentkit.cli.formatting import format_json, format_usage
from agentkit.cli.live_view import console_for, print_line
from agentkit.cli.stored import KINDS, SavedBatch, SavedCassette, SavedResult, read_stored
from agentkit.cli.transcript import Entry, print_transcript, total_usage, transcript_of
from agentkit.core.dicts import loads
from agentkit.core.errors import ConfigurationError, InvalidRequest, ModelError
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import AssistantMessage, Message, ToolCall, Usage
from agentkit.core.printable import format_call
from agentkit.core.session import StoredConversation
from agentkit.testing.recordings import Recording


@dataclass(frozen=True, slots=True)
class StoredTranscript:
    kind: str
    entries: Sequence[Entry]
    usage: Usage | None = None
    end: str = ""


async def replay(text: str, *, as_json: bool = False, whole: bool = False) -> ExitCode:
    """Print a stored conversation: that in a file, or in an SQLite file under a name (`FILE:NAME`)."""
    transcript = await _read_file(text)
    usage = transcript.usage
    if as_json:
        entries = [entry.to_dict() for entry in transcript.entries]
        data = {"kind": transcript.kind, "end": transcript.end, "usage": usage and asdict(usage), "story": entries}
        sys.stdout.write(format_json(data))
    else:
        console = console_for(sys.stdout)
        print_transcript(console, transcript.entries, whole=whole)
        summary = (transcript.kind, transcript.end, "" if usage is None else format_usage(usage))
        print_line(console, ("; ".join(filter(None, summary)), "dim"))
    return ExitCode.OK


async def _read_file(text: str) -> StoredTranscript:
    name, stored = await read_stored(text)
    match stored:
        case StoredConversation():
            return _from_session(stored, f"session {name}".rstrip())
        case SavedCassette():
            return _from_cassette(stored.model, stored.recordings)
        case SavedResult():
            return _from_result(stored.data, stored.path)
        case SavedBatch():
            raise ConfigurationError(f"{text} is the journal of a batch; to see it: agentkit view {text}")
        case _:
            return StoredTranscript("messages", transcript_of(stored.messages))


def _from_session(conversation: StoredConversation, kind: str) -> StoredTranscript:
    started = [
        Entry(None, note=f"{format_call(ToolCall('', call.name, call.arguments))} had started")
        for call in conversation.started
    ]
    if not conversation.messages:
        raise ConfigurationError(f"there is no conversation in the file; give {KINDS}")
    return StoredTranscript(kind, [*transcript_of(conversation.messages), *started])


def _from_result(data: dict[str, Any], path: Path) -> StoredTranscript:
    try:
        messages = loads(json.dumps(data["messages"]))
        steps = [object_of(step) for step in list_of(data.get("steps"))]
        start, usage = int(data.get("start", 0)), Usage(**object_of(data.get("usage")))  # type: ignore[arg-type]
        before, new = transcript_of(messages[:start] if steps else messages), messages[start:] if steps else ()
        entries = [*before, *_with_steps(new, steps)]
    except (InvalidRequest, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} is not output of `agentkit run --json`: {error}") from error
    failure = object_of(data.get("error"))
    end = f"failed: {failure.get('text')}" if failure else f"ended with {data.get('stop')}"
    return StoredTranscript("result", entries, usage, end)


def _with_steps(messages: Sequence[Message], steps: list[dict[str, object]]) -> list[Entry]:
    """Add to each reply the usage of its step, and why it was rejected."""
    remaining, entries = iter(steps), list[Entry]()
    for entry in transcript_of(messages):
        step = next(remaining, None) if isinstance(entry.message, AssistantMessage) else None
        if step is None:
            entries.append(entry)
            continue
        violation = step.get("violation")
        usage = Usage(**cast("dict[str, Any]", object_of(step.get("usage"))))
        entries.append(Entry(entry.message, usage, f"rejected: {violation}; asked again" if violation else ""))
    return entries


def _from_cassette(model: str, recordings: Sequence[Recording]) -> StoredTranscript:
    """Read recordings. If a request continues the one before it, only its new messages are shown."""
    entries: list[Entry] = []
    before: tuple[Message, ...] = ()
    for number, recording in enumerate(recordings):
        messages = loads(json.dumps([line["message"] for line in recording.asked if "message" in line]))
        known = len(before) if messages[: len(before)] == before else 0
        if number and not known:
            entries.append(Entry(None, note="another conversation:"))
        entries += map(Entry, messages[known:])
        outcome = recording.outcome
        if isinstance(outcome, ModelError):
            entries.append(Entry(None, note=f"{type(outcome).__name__}: {outcome}"))
            before = messages
        else:
            entries.append(Entry(outcome.message, outcome.usage or Usage(1)))
            before = (*messages, outcome.message)
    return StoredTranscript(f"cassette of {model}", entries, total_usage(entries), f"{len(recordings)} recordings")
