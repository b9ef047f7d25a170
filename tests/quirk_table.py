"""The page of the quirks, made from the data and from what comes of them: `python -m tests.quirk_table` writes it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import anyio

from agentkit.core.errors import AgentkitError, EndpointError, ModelError
from agentkit.testing import Quirk, chaos, quirks
from tests.testing.test_quirks import Seen, play, script_of

PAGE = Path(__file__).parent.parent / "docs/quirks.md"
NOWHERE = "http://127.0.0.1:9/v1/chat/completions"  # the port of a service that throws everything away

KINDS = {
    "stream": "Streams",
    "json": "Plain bodies",
    "args": "Arguments of calls",
    "http": "HTTP",
    "schema": "Requests: tools that are refused",
    "history": "Requests: histories that are refused",
}

ENDS = {
    "empty": 'asked again twice, then an empty answer: `stop="empty"`',
    "refusal": 'the refusal is the output: `stop="refusal"`',
}

# What agentkit does so that an endpoint does not refuse its request.
SENT = {
    "C03": "the profile's plain schema has no such keyword; references are put in where they stand",
    "C04": "the union becomes one type that takes all that it takes; arguments are held against the whole schema here",
    "C05": "a name is held against the pattern when the tool is made, a description where the profile has a length; "
    "the error says what to change",
    "C06": "`InvalidRequest` with the count before anything is sent, where the profile has a number",
    "C08": "it is left out where the profile says so",
    "T01": "each open call is answered as stopped; the history in `partial` can be sent as it is",
    "T03": "it is kept, and sent again to the endpoint that it came from, where the profile names it",
    "T04": "only standard fields are sent, unless the profile names more",
    "T05": "unknown fields of a call are kept, and those that the profile names are sent again to where they came from",
    "T07": "the id is replaced in the call and its answer where the profile has a pattern that it does not match",
    "T08": "ids are sent letter for letter, unless the profile has a pattern",
    "T10": "null beside calls, else a text, which may be empty; what else an endpoint wants is in its profile",
    "T12": "the text is sent in the tool's message, the images in one user message after all answers",
    "T13": "where the profile says so, neighbours of one role are merged, and one system message goes first",
    "T15": "the history is sent with `{}` there; the answer to the call says what was wrong",
    "T17": "only the request is sent again; the error's `partial` has what the tools did, so a run that goes on from "
    "there runs none of them twice",
    "T18": "the surrogate is replaced where the result becomes text, and a NUL is escaped as JSON has it",
    "T19": "an observer's error ends the run before the next request",
}


def outcome(given: Quirk, seen: Seen) -> str:
    """Say what came of a quirk."""
    assert seen.unmet(given.expect) == [], given.name
    retry = str(given.expect.get("retry", ""))
    if retry.startswith("after>="):
        return f"sent again after {retry.removeprefix('after>=')} s or a little more, and answered"
    if retry == "ok":
        return "sent again, and answered"
    if seen.error is not None:
        return failure(given, seen.error)
    assert seen.result is not None
    if seen.told:
        return "the call is not run, but answered with what is wrong; the run goes on"
    if seen.ran:
        return "1 call is run" if len(seen.ran) == 1 else f"{len(seen.ran)} calls are run"
    return ENDS.get(seen.result.stop) or answered(given)


def failure(given: Quirk, error: AgentkitError) -> str:
    """Say what was raised."""
    # The number of requests that the endpoint saw is less where one was given up before it was there.
    again = f", after {error.attempts} requests" if isinstance(error, ModelError) and error.attempts > 1 else ""
    asked = error.retry_after if isinstance(error, EndpointError) else None
    waits = "" if asked is None else f", with `retry_after={asked:g}`"
    hidden = ", and the key shows nowhere" if "hidden" in given.expect else ""
    return f"`{type(error).__name__}`{again}{waits}{hidden}"


def answered(given: Quirk) -> str:
    """Say what the answer is."""
    if "usage" not in given.expect:
        return "the answer" if "text" in given.expect else "the text is the answer; nothing is run"
    usage = given.expect["usage"]
    return f"the answer; {'its tokens are unknown' if usage is None else f'{usage} tokens are counted'}"


async def outcomes() -> dict[str, str]:
    """Play all quirks at once, each at an agent of its own that does not stream, and say what came of them."""
    found: dict[str, str] = {}

    async def settle(given: Quirk) -> None:
        if "location" in given.headers:
            given = replace(given, headers={"location": NOWHERE})
        with chaos(*script_of(given, "unasked"), speed=100) as endpoint:
            found[given.name] = outcome(given, await play(given, "unasked", endpoint))

    async with anyio.create_task_group() as group:
        for each in quirks():
            if each.is_reply:
                group.start_soon(settle, each)
    return found | SENT


def rows(given: list[Quirk], found: dict[str, str]) -> Iterator[str]:
    """Give the rows of a table: one for each id, and one more where a variant comes to something else."""
    for (_, what), several in groupby(given, lambda each: (each.id, found[each.name])):
        first, *others = several
        ids = ", ".join([f"[{first.name}]({first.sources[0]})", *(each.name for each in others)])
        yield f"| {ids} | {first.title} | {what} |".replace("[DONE]", "`[DONE]`")


def tables(found: dict[str, str]) -> str:
    """Give all tables, each under its heading."""
    parts: list[str] = []
    for kind, heading in KINDS.items():
        given = [each for each in quirks() if each.kind == kind]
        what = "What is refused" if kind in ("schema", "history") else "What endpoints do"
        head = f"## {heading}\n\n| Quirk | {what} | What agentkit does |\n|---|---|---|\n"
        parts.append(head + "\n".join(rows(given, found)) + "\n")
    return "\n".join(parts)


def page(written: str, found: dict[str, str]) -> str:
    """Give the page: its words, which stand before the first heading, and the tables."""
    return written.partition("## ")[0] + tables(found)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), anyio.run(outcomes)))
