"""Runs each word of tool_choice against endpoints that disobey, and holds the runs to what the words mean.

    uv run python benchmarks/disobedience.py            # prints the table
    uv run python benchmarks/disobedience.py --write    # rewrites docs/tool-choice/disobedience.md too

The endpoint is a real socket. What it replies is a function of the request. `ideal` plays the same endpoint against the
meaning of a word: it runs what the word allows, and asks again only where it must. So it says which calls must run, and
the least number of requests.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from words import PROMPT, RIGHTS, WORDS, Arguments, Done, Made, Now, Wish, Word

from agentkit import Agent, AssistantMessage, ChatClient, Message, Tool, ToolCall, ToolMessage, UserMessage
from agentkit.testing import Raw, chaos
from agentkit.tool_choice import Call

PAGE = Path(__file__).parent.parent / "docs" / "tool-choice" / "disobedience.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
MOST = 30
NOTHING: Arguments = {"order": "", "amount": 0, "n": 0}


class Seen(NamedTuple):
    """What an endpoint sees: the choice, the tools that are offered, and the replies since the user spoke."""

    mode: str
    forced: str | None
    offered: list[str]
    replies: list[list[Wish]]

    def may(self, tool: str) -> bool:
        """Whether a call is allowed, as far as the request says."""
        return self.mode != "none" and tool in self.offered and self.forced in (None, tool)


Endpoint: TypeAlias = Callable[[Word, Seen], list[Wish]]
"""From a word and a request to the calls of the reply; none of them is an answer."""


def wishes_of(word: Word) -> list[Wish]:
    """Return the calls that the model would like to make: `pay:50`, `cancel:o-1`, or `search=` without arguments."""
    wishes: list[Wish] = []
    for number, wish in enumerate(word.wishes.split(), 1):
        name, colon, value = wish.partition(":")
        if colon:
            wishes.append((name, {"amount": int(value)} if value.isdigit() else {"order": value}))
        else:
            wishes.append((name.removesuffix("="), {} if name.endswith("=") else {"n": number}))
    return wishes


def obedient(word: Word, seen: Seen) -> list[Wish]:
    """Do what the request says: the forced call, else the next wish that is offered, else an answer."""
    if seen.mode == "none":
        return []
    fresh: Arguments = {"n": 10 + len(seen.replies)}
    if seen.forced is not None:
        return [(seen.forced, fresh)]
    made = [call for reply in seen.replies for call in reply]
    for wish in wishes_of(word):
        if wish in made:
            made.remove(wish)
        elif seen.may(wish[0]):
            return [wish]
    if seen.mode == "auto":
        return []
    return [(next((name for name, _ in wishes_of(word)[::-1] if seen.may(name)), seen.offered[0]), fresh)]


def of_every_tool(word: Word, seen: Seen, begin: int) -> list[Wish]:
    """Return a call of each tool, with arguments that no other call has."""
    return [(name, {"n": begin + 100 * len(seen.replies) + at}) for at, name in enumerate(word.tools.split())]


def twice(word: Word, seen: Seen) -> list[Wish]:
    """Make each call twice, with other arguments."""
    return [call for name, given in obedient(word, seen) for call in ((name, given), (name, given | {"n": 50}))]


def more(word: Word, seen: Seen) -> list[Wish]:
    """Call every tool before and after what is asked for, whether it is allowed or not."""
    calls = obedient(word, seen)
    return [*of_every_tool(word, seen, 100), *calls, *of_every_tool(word, seen, 150)] if calls else []


def deaf(word: Word, seen: Seen) -> list[Wish]:
    """Ignore every other choice: a text where a call is demanded, else calls of all that may not be called."""
    if len(seen.replies) % 2:
        return obedient(word, seen)
    if seen.mode in ("required", "function"):
        return []
    return [call for call in of_every_tool(word, seen, 100) if not seen.may(call[0])] or obedient(word, seen)


def repeating(word: Word, seen: Seen) -> list[Wish]:
    """Make the calls of the reply before once more, then go on."""
    return seen.replies[-1] if len(seen.replies) % 2 else obedient(word, seen)


def inventing(word: Word, seen: Seen) -> list[Wish]:
    """Make each call with invented arguments first. The ids of the calls are invented too; see `reply`."""
    return [
        call
        for name, given in obedient(word, seen)
        for call in ((name, given | {"order": "o-99", "amount": 9999}), (name, given))
    ]


ENDPOINTS: dict[str, Endpoint] = {
    "obeys": obedient,
    "calls twice": twice,
    "adds calls of every tool": more,
    "ignores the choice": deaf,
    "repeats itself": repeating,
    "invents ids and values": inventing,
}


@dataclass
class Outcome:
    """What a run came to: the calls that ran, those that were asked for, those that did not run, and the requests."""

    ran: list[Wish] = field(default_factory=list["Wish"])
    asked: list[Wish] = field(default_factory=list["Wish"])
    refused: int = 0
    requests: int = 0
    end: str = "answer"


# ---- what must come of it


def ideal(word: Word, endpoint: Endpoint) -> Outcome:
    """Play an endpoint against the meaning of a word."""
    outcome, replies = Outcome(), list[list[Wish]]()
    calls = [Made(tool, NOTHING, 0, earlier=True) for tool in word.earlier.split()]
    tools, step = word.tools.split(), 0
    while outcome.requests < MOST:
        now = word.means(Done(calls, [], step))
        if now.known is not None:
            made = [(now.forced or "", now.known)]
        else:
            outcome.requests += 1
            made = endpoint(word, asked(now, tools, replies))
        replies.append(made)
        if not made and not (now.demanded or now.forced):
            return outcome
        ran = settle(word, made, now, Done(calls, [], step), outcome)
        calls += ran
        step += bool(ran)
    return outcome


def asked(now: Now, tools: list[str], replies: list[list[Wish]]) -> Seen:
    """Return what a request says where this holds."""
    offered = [tool for tool in tools if tool not in now.withheld]
    if now.silent or not offered:
        return Seen("none", None, tools, replies)
    return Seen("function" if now.forced else "required" if now.demanded else "auto", now.forced, offered, replies)


def settle(word: Word, made: list[Wish], now: Now, done: Done, outcome: Outcome) -> list[Made]:
    """Return the calls of a reply that run, in order."""
    for tool, arguments in made:
        given = NOTHING | arguments
        call = Call(tool, given)
        may = now.permits(tool) and word.means(done).permits(tool)
        if may and word.asks(call):
            outcome.asked.append((tool, given))
        if may and not word.rejects(call, done):
            outcome.ran.append((tool, given))
            done.beside.append(Made(tool, given, done.step, tool not in word.fails.split()))
        else:
            outcome.refused += 1
    return done.beside


# ---- what comes of it


class Stage:
    """The reply of the fake server: what the endpoint on stage says to a request."""

    def __init__(self) -> None:
        self.word = WORDS[0]
        self.endpoint: Endpoint = obedient

    def raw(self, request: Mapping[str, Any]) -> Raw:
        calls = self.endpoint(self.word, seen_in(request))
        message: dict[str, Any] = {"role": "assistant", "content": None if calls else "Done."}
        if calls:
            message["tool_calls"] = [
                {
                    "id": ("", "call_0")[at % 2] if self.endpoint is inventing else f"c{len(request['messages'])}_{at}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for at, (name, arguments) in enumerate(calls)
            ]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
        return Raw([json.dumps({"id": "1", "model": "m", "choices": [choice]}).encode()])


def seen_in(request: Mapping[str, Any]) -> Seen:
    """Return what a request says."""
    choice = request.get("tool_choice", "auto")
    offered = [tool["function"]["name"] for tool in request["tools"]]
    messages = request["messages"]
    begin = max(at for at, message in enumerate(messages) if message.get("content") == PROMPT)
    replies = [
        [
            (call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls", ())
        ]
        for message in messages[begin:]
        if message["role"] == "assistant"
    ]
    if isinstance(choice, str):
        return Seen(choice, None, offered, replies)
    return Seen("function", cast("str", choice["function"]["name"]), offered, replies)


def tool_of(name: str, word: Word, ran: list[Wish]) -> Tool:
    """Return a tool that notes its calls."""

    async def function(order: str = "", amount: int = 0, n: int = 0) -> object:
        ran.append((name, {"order": order, "amount": amount, "n": n}))
        if name in word.fails.split():
            raise ValueError("not now")
        return word.results.get(name, f"{name} is done")

    return Tool.of(function, name=name)


def history_of(word: Word) -> list[Message]:
    """Return the conversation with the prompt at its end."""
    messages: list[Message] = [UserMessage("Hello.")] if word.earlier else []
    for name in word.earlier.split():
        messages += [
            AssistantMessage(tool_calls=(ToolCall(f"e_{name}", name, "{}"),)),
            ToolMessage(f"e_{name}", "Done."),
        ]
    return [*messages, *([AssistantMessage("Hello.")] if messages else []), UserMessage(PROMPT)]


async def played(word: Word, client: ChatClient) -> Outcome:
    """Run an agent with a word."""
    outcome = Outcome()

    def approver(call: ToolCall) -> bool:
        arguments = NOTHING | json.loads(call.arguments)
        outcome.asked.append((call.name, arguments))
        return not word.rejects(Call(call.name, arguments), Done([], [], 0))

    agent = Agent(
        client,
        tools=[tool_of(name, word, outcome.ran) for name in word.tools.split()],
        tool_choice=word.policy,
        deps_type=frozenset[str],
    )
    try:
        result = await agent.run(history_of(word), deps=RIGHTS, approver=approver)
    except Exception as error:  # noqa: BLE001 (shown as the end of the run)
        outcome.end = type(error).__name__
        return outcome
    outcome.end = result.stop
    answers = [message for message in result.messages if isinstance(message, ToolMessage)]
    outcome.refused = sum(message.outcome == "refused" for message in answers)
    return outcome


# ---- the table


Cells: TypeAlias = dict[tuple[str, str], tuple[Outcome, list[Any]]]
"""What came of each word at each endpoint, and the requests."""


async def cells() -> Cells:
    """Run every word against every endpoint."""
    found: Cells = {}
    stage = Stage()
    with chaos(stage) as server:
        client = ChatClient("m", base_url=server.url, api_key="sk-test", retries=0)
        for stage.word in WORDS:
            for name, stage.endpoint in ENDPOINTS.items():
                before = len(server.requests)
                outcome = await played(stage.word, client)
                outcome.requests = len(server.requests) - before
                found[repr(stage.word.policy), name] = outcome, server.requests[before:]
    return found


def wrong_in(cells: Cells) -> list[str]:
    """Return the runs that are not what they must be."""
    return [
        f"{word.policy!r}, {name}:\n  came   {came}\n  wanted {wanted}"
        for word in WORDS
        for name, endpoint in ENDPOINTS.items()
        if (came := cells[repr(word.policy), name][0]) != (wanted := ideal(word, endpoint))
    ]


def table(cells: Cells) -> str:
    """Return the outcomes as a table in Markdown."""
    lines = [f"| Policy | {' | '.join(ENDPOINTS)} |", f"|---|{'---|' * len(ENDPOINTS)}"]
    for word in WORDS:
        row = [cells[repr(word.policy), name][0] for name in ENDPOINTS]
        counts = [f"{len(outcome.ran)} / {outcome.refused} / {outcome.requests}" for outcome in row]
        lines.append(f"| `{word.policy!r}` | {' | '.join(counts)} |")
    return "\n".join(lines) + "\n"


def rewritten(page: str, text: str) -> str:
    """Return the page of the documentation with another table."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + text + END + rest.partition(END)[2]


def main() -> int:
    """Play every word against every endpoint; return 1 if a run is not what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="rewrite the table of the documentation")
    write = parser.parse_args().write
    found = asyncio.run(cells())
    wrong = wrong_in(found)
    print(table(found), *wrong, sep="\n")
    if write and not wrong:
        PAGE.write_text(rewritten(PAGE.read_text(), table(found)))
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
