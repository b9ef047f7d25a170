"""Plays every quirk and writes the tables of docs/quirks.md: `python -m tests.quirk_table`."""

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
    "C03": "the profile's plain schema has no such keyword, and references are inlined",
    "C04": "the union is sent as one wider type; agentkit validates arguments against the whole schema",
    "C05": "names are checked when the tool is made, descriptions if the profile has a length; the error says what to "
    "change",
    "C06": "`InvalidRequest` with the count before anything is sent, if the profile has a maximum",
    "C08": "left out if the profile says so",
    "T01": "each open call gets a result that says it was stopped; the history in `partial` can be sent unchanged",
    "T03": "stored, and sent back to the endpoint that it came from, if the profile names it",
    "T04": "only standard fields are sent, unless the profile names more",
    "T05": "unknown fields of a call are stored; those that the profile names are sent back to where they came from",
    "T07": "the id is replaced in the call and its result if it does not match the profile's pattern",
    "T08": "ids are sent unchanged, unless the profile has a pattern",
    "T10": "null beside calls, else a text, which may be empty; the profile has other wishes of an endpoint",
    "T12": "the text is sent in the tool's message, the images in one user message after all results",
    "T13": "if the profile says so, adjacent messages of one role are merged, and one system message goes first",
    "T15": "the history is sent with `{}` there; the tool result says what was wrong",
    "T17": "only the request is sent again; the error's `partial` has the tool results, so a run that resumes from it "
    "runs no tool twice",
    "T18": "the surrogate is replaced when the result becomes text, and a NUL is escaped as JSON requires",
    "T19": "an observer's error ends the run before the next request",
}


def outcome(quirk: Quirk, seen: Seen) -> str:
    """Say what an agent did with a quirk."""
    assert seen.unmet(quirk.expect) == [], quirk.name
    retry = str(quirk.expect.get("retry", ""))
    if retry.startswith("after>="):
        return f"retried after {retry.removeprefix('after>=')} s or a little more, then answered"
    if retry == "ok":
        return "retried, then answered"
    if seen.error is not None:
        return failure(quirk, seen.error)
    assert seen.result is not None
    if seen.told:
        return "the call does not run; its result says what is wrong, and the run continues"
    if seen.ran:
        return "1 call runs" if len(seen.ran) == 1 else f"{len(seen.ran)} calls run"
    return ENDS.get(seen.result.stop) or answered(quirk)


def failure(quirk: Quirk, error: AgentkitError) -> str:
    """Say what was raised."""
    # The number of requests that the endpoint saw is less if one was given up before it arrived.
    again = f", after {error.attempts} requests" if isinstance(error, ModelError) and error.attempts > 1 else ""
    asked = error.retry_after if isinstance(error, EndpointError) else None
    waits = "" if asked is None else f", with `retry_after={asked:g}`"
    hidden = ", and the key is hidden everywhere" if "hidden" in quirk.expect else ""
    return f"`{type(error).__name__}`{again}{waits}{hidden}"


def answered(quirk: Quirk) -> str:
    """Say what the answer is."""
    if "usage" not in quirk.expect:
        return "the answer" if "text" in quirk.expect else "the text is the answer; no call runs"
    usage = quirk.expect["usage"]
    return f"the answer; {'its tokens are unknown' if usage is None else f'{usage} tokens are counted'}"


async def outcomes() -> dict[str, str]:
    """Play all quirks concurrently, each against its own agent, not streamed; return what came of each."""
    results: dict[str, str] = {}

    async def settle(quirk: Quirk) -> None:
        if "location" in quirk.headers:
            quirk = replace(quirk, headers={"location": NOWHERE})
        with chaos(*script_of(quirk, "unasked"), speed=100) as endpoint:
            results[quirk.name] = outcome(quirk, await play(quirk, "unasked", endpoint))

    async with anyio.create_task_group() as group:
        for quirk in quirks():
            if quirk.is_reply:
                group.start_soon(settle, quirk)
    return results | SENT


def rows(of_kind: list[Quirk], results: dict[str, str]) -> Iterator[str]:
    """Yield the rows of a table: one for each id, and one more if a variant has another outcome."""
    for (_, result), variants in groupby(of_kind, lambda quirk: (quirk.id, results[quirk.name])):
        first, *others = variants
        ids = ", ".join([f"[{first.name}]({first.sources[0]})", *(quirk.name for quirk in others)])
        yield f"| {ids} | {first.title} | {result} |".replace("[DONE]", "`[DONE]`")


def tables(results: dict[str, str]) -> str:
    """Return all tables, each under its heading."""
    parts: list[str] = []
    for kind, heading in KINDS.items():
        of_kind = [quirk for quirk in quirks() if quirk.kind == kind]
        what = "What is refused" if kind in ("schema", "history") else "What endpoints do"
        head = f"## {heading}\n\n| Quirk | {what} | What agentkit does |\n|---|---|---|\n"
        parts.append(head + "\n".join(rows(of_kind, results)) + "\n")
    return "\n".join(parts)


def page(written: str, results: dict[str, str]) -> str:
    """Return the page: its text before the first heading, then the tables."""
    return written.partition("## ")[0] + tables(results)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), anyio.run(outcomes)))
