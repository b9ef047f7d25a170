"""`agentkit replay`: a stored conversation as a story."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from agentkit.cli.exit_codes import Code
from agentkit.cli.formatting import usage_of
from agentkit.cli.live_view import console_on, put
from agentkit.cli.session_argument import split
from agentkit.cli.transcript import Told, tell_story, told_of, usage_in
from agentkit.core.dicts import loads
from agentkit.core.errors import ConfigurationError, InvalidRequest, ModelError
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import AssistantMessage, Message, Usage
from agentkit.core.session import StoredConversation
from agentkit.sessions import JsonLines, Sqlite
from agentkit.testing.recordings import Recording, read

_SQLITE = b"SQLite format 3\x00"
_KINDS = "a session (SQLite or .jsonl), what `agentkit run --json` gave, a cassette, or a JSON array of messages"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file has.

    Attributes:
        kind: What it is.
        story: The story.
        usage: What it cost.
        end: How it ended.
    """

    kind: str
    story: Sequence[Told]
    usage: Usage | None = None
    end: str = ""


async def replay(text: str, *, as_json: bool = False, whole: bool = False) -> Code:
    """Tell what a file has.

    Args:
        text: The file, or `FILE:NAME` for a conversation in an SQLite file.
        as_json: Whether it is given as JSON.
        whole: Whether long results are told to their end.
    """
    found = await _stored(text)
    if as_json:
        usage = None if found.usage is None else asdict(found.usage)
        data = {"kind": found.kind, "end": found.end, "usage": usage, "story": [each.data() for each in found.story]}
        sys.stdout.write(f"{json.dumps(data)}\n")
        return Code.OK
    console = console_on(sys.stdout)
    tell_story(console, found.story, whole=whole)
    cost = "" if found.usage is None else usage_of(found.usage)
    put(console, ("; ".join([each for each in (found.kind, found.end, cost) if each]), "dim"))
    return Code.OK


async def _stored(text: str) -> Stored:
    path, name = split(text)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(_SQLITE):
        return await _sqlite(path, name)
    if name:
        raise ConfigurationError(f"{path} has no conversations with names: agentkit replay {path}")
    return await _lines(path, data)


async def _sqlite(path: Path, name: str) -> Stored:
    file = Sqlite(path)
    names = await file.conversations()
    if not name and len(names) == 1:
        (name,) = names
    if name not in names:
        which = ", ".join(names) or "none"
        raise ConfigurationError(f"{path} has these conversations: {which}; say which: agentkit replay {path}:NAME")
    return _session(await file.conversation(name).load(), f"session {name}")


async def _lines(path: Path, data: bytes) -> Stored:
    """Read a file that is JSON, or lines of JSON."""
    head = data.lstrip().partition(b"\n")[0]
    try:
        first: object = json.loads(head)
    except ValueError:
        first = None
    if "cassette" in object_of(first):
        return _cassette(*read(data.decode(errors="replace"), str(path)))
    try:
        whole: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        if first is None:
            raise ConfigurationError(f"{path} is none of what can be replayed: {_KINDS}") from error
        return _session(await JsonLines(path).load(), "session")
    if isinstance(whole, list):
        return Stored("messages", told_of(loads(data)))
    if "messages" in object_of(whole):
        return _result(object_of(whole), path)
    return _session(await JsonLines(path).load(), "session")


def _session(kept: StoredConversation, kind: str) -> Stored:
    started = [Told(None, note=f"{each.name}({each.arguments}) had started") for each in kept.started]
    if not kept.messages:
        raise ConfigurationError(f"there is no conversation in it; what can be replayed: {_KINDS}")
    return Stored(kind, [*told_of(kept.messages), *started])


def _result(data: dict[str, Any], path: Path) -> Stored:
    """Read what `run --json` gave."""
    try:
        messages = loads(json.dumps(data["messages"]))
        steps = [object_of(each) for each in list_of(data.get("steps"))]
        start, usage = int(data.get("start", 0)), Usage(**object_of(data.get("usage")))  # type: ignore[arg-type]
        story = [*told_of(messages[:start]), *_with_steps(messages[start:], steps)] if steps else told_of(messages)
    except (InvalidRequest, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} is not what `agentkit run --json` gave: {error}") from error
    failed = object_of(data.get("error"))
    end = f"failed: {failed.get('text')}" if failed else f"ended with {data.get('stop')}"
    return Stored("result", story, usage, end)


def _with_steps(messages: Sequence[Message], steps: list[dict[str, object]]) -> list[Told]:
    """Tell messages with what each step cost, and why it was not taken."""
    left, story = iter(steps), list[Told]()
    for each in told_of(messages):
        step = next(left, None) if isinstance(each.message, AssistantMessage) else None
        if step is None:
            story.append(each)
            continue
        violation = step.get("violation")
        usage = Usage(**cast("dict[str, Any]", object_of(step.get("usage"))))
        story.append(Told(each.message, usage, f"not taken: {violation}; asked again" if violation else ""))
    return story


def _cassette(model: str, recordings: Sequence[Recording]) -> Stored:
    """Tell what was recorded; of a request that goes on with the one before it, what is new."""
    story: list[Told] = []
    before: tuple[Message, ...] = ()
    for number, each in enumerate(recordings):
        messages = loads(json.dumps([line["message"] for line in each.asked if "message" in line]))
        known = len(before) if messages[: len(before)] == before else 0
        if number and not known:
            story.append(Told(None, note="another conversation:"))
        story += map(Told, messages[known:])
        if isinstance(each.outcome, ModelError):
            story.append(Told(None, note=f"{type(each.outcome).__name__}: {each.outcome}"))
            before = messages
        else:
            story.append(Told(each.outcome.message, each.outcome.usage or Usage(1)))
            before = (*messages, each.outcome.message)
    return Stored(f"cassette of {model}", story, usage_in(story), f"{len(recordings)} recordings")
