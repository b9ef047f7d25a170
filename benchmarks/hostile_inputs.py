"""What hostile input does to this version of agentkit; `hostile.py` starts this file, in a process for each attack."""

import json
import os
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import anyio

from agentkit import (
    Agent,
    AssistantMessage,
    JsonLines,
    Memory,
    Session,
    Sqlite,
    Tool,
    ToolCall,
    ToolMessage,
    in_terminal,
    tool,
)
from agentkit.core.chat import ChatRequest, ToolSpec
from agentkit.core.errors import SessionError
from agentkit.core.session import Started
from agentkit.models.client.plain_schema import plain_tool
from tests.attack.before.make import write
from tests.attack.test_stores import BYTES, LINES, damaged
from tests.scripted import Scripted, called, said

SECONDS = 60
MEMORY = 2_000_000_000
DAMAGES = int(os.environ.get("ATTACK", "1500"))
PAIRS = 40


def nothing(**_: object) -> None:
    """Do nothing."""


def tool_of(parameters: dict[str, Any]) -> Any:
    """Make a tool of a schema."""
    return Tool.from_schema(nothing, name="use", description="Use it.", parameters=parameters)


def validated(parameters: dict[str, Any], arguments: str) -> str:
    """Make a tool of a schema, validate arguments, and return what comes of it."""
    try:
        made = tool_of(parameters)
    except Exception as error:  # noqa: BLE001 (its kind is what is asked for)
        return type(error).__name__
    try:
        return f"valid: {made.arguments.validate(arguments)!s:.60}"
    except Exception as error:  # noqa: BLE001 (its kind is what is asked for)
        return f"a tool; then {type(error).__name__}"


def with_x(schema: dict[str, Any], **defs: dict[str, Any]) -> dict[str, Any]:
    """Return an object's schema with one property, `x`."""
    return {"type": "object", "properties": {"x": schema}, "$defs": defs}


def doublings(count: int) -> dict[str, Any]:
    """Return a schema in which each definition refers to the next one twice."""
    names = [f"a{number}" for number in range(count + 1)]
    defs: dict[str, Any] = {a: {"anyOf": [{"$ref": f"#/$defs/{b}"}] * 2} for a, b in pairwise(names)}
    return with_x({"$ref": "#/$defs/a0"}, **defs, **{names[-1]: {"type": "integer"}})


def reference_to_itself() -> str:
    """A definition that is a reference to itself."""
    return validated(with_x({"$ref": "#/$defs/a"}, a={"$ref": "#/$defs/a"}), '{"x": 1}')


def union_of_itself() -> str:
    """A definition that is itself or an integer."""
    itself = {"$ref": "#/$defs/a"}
    return validated(with_x(itself, a={"anyOf": [itself, {"type": "integer"}]}), '{"x": ""}')


def deep_schema() -> str:
    """20,000 arrays in each other."""
    schema: dict[str, Any] = {}
    for _ in range(20_000):
        schema = {"type": "array", "items": schema}
    return validated(with_x(schema), '{"x": []}')


def wide_union() -> str:
    """A union of 10,000 objects."""
    kinds = [{"type": "object", "properties": {f"a{number}": {"type": "integer"}}} for number in range(10_000)]
    return validated(with_x({"anyOf": kinds}), '{"x": 1}')


def doubling_validated() -> str:
    """18 definitions that each refer to the next one twice: validated."""
    return validated(doublings(18), '{"x": "s"}')


def doubling_inlined() -> str:
    """The same for an endpoint to which references are written out."""
    try:
        return f"{len(plain_tool(tool_of(doublings(18)).spec.encoded)):,} characters"
    except Exception as error:  # noqa: BLE001 (its kind is what is asked for)
        return type(error).__name__


def backtracking() -> str:
    """A pattern that backtracks, and 26 characters."""
    return validated(with_x({"type": "string", "pattern": "^(a+)+$"}), json.dumps({"x": "a" * 26 + "!"}))


def schemas_kept() -> str:
    """1,000 schemas of 100 kB from clients."""
    fields = {f"p{number}": {"type": "string", "description": "x" * 600} for number in range(150)}
    for number in range(1000):
        plain_tool(ToolSpec(f"t{number}", "", {"type": "object", "properties": fields}).encoded)
    return "1,000 schemas"


def numbers_that_are_none() -> str:
    """NaN, infinities, and 1e999 for a number that a rule compares."""
    schema = with_x({"type": "number"})
    texts = ("NaN", "Infinity", "-Infinity", "1e999")
    taken = [text for text in texts if validated(schema, f'{{"x": {text}}}').startswith("valid")]
    return f"taken: {', '.join(taken) or 'none'}"


def paid_in_sub_agents() -> str:
    """One payment that must happen once, by a sub-agent that is called twice."""
    paid = Counter[int]()

    @tool(effect="once", key="invoice")
    def pay(invoice: int) -> str:
        paid[invoice] += 1
        return "paid"

    clerk = Agent(Scripted(*[called(("pay", {"invoice": 1})), said("done")] * 2), tools=[pay], name="clerk")
    twice = [called(("clerk", {"prompt": "Pay."})), called(("clerk", {"prompt": "Pay!"}))]
    boss = Agent(Scripted(*twice, said("done")), tools=[clerk.as_tool("clerk", "Pay.")])
    boss.run_sync("Pay.", session=Memory())
    return f"paid {paid[1]} times"


def paid_by_two_runs() -> str:
    """Pairs of runs on one conversation, of which one reads it before and pays after the other, per store."""
    payment = called(("pay", {"invoice": 1}))

    async def paid(session: Session) -> int:
        paid = Counter[int]()
        asked, ended = anyio.Event(), anyio.Event()

        @tool(effect="once", key="invoice")
        async def pay(invoice: int) -> str:
            paid[invoice] += 1
            return "paid"

        async def late(request: ChatRequest) -> AssistantMessage:
            asked.set()
            await ended.wait()
            return said("done") if isinstance(request.messages[-1], ToolMessage) else payment

        async with anyio.create_task_group() as group:
            group.start_soon(partial(Agent(Scripted(late), tools=[pay]).run, "Pay.", session=session))
            await asked.wait()
            await Agent(Scripted(payment, said("done")), tools=[pay]).run("Pay.", session=session)
            ended.set()
        return paid[1]

    async def count(folder: str) -> str:
        chats = Sqlite(Path(folder, "chats.db"), sync=False)
        counts = Counter[str]()
        for number in range(PAIRS):
            lines = JsonLines(Path(folder, f"{number}.jsonl"), sync=False)
            for session in (Memory(), lines, chats.conversation(str(number))):
                counts[type(session).__name__.strip("_")] += await paid(session) > 1
        return f"paid twice, of {PAIRS}: " + ", ".join([f"{name} {counts[name]}" for name in counts])

    with TemporaryDirectory() as folder:
        return anyio.run(count, folder)


def damaged_stores() -> str:
    """Random damages to each store: what is lost without an error."""
    counts = Counter[str]()

    async def read(folder: Path, kept: Path) -> None:
        for name, changes in (("chat.jsonl", LINES), ("chats.db", BYTES)):

            def store(where: Path, name: str = name) -> Any:
                return JsonLines(where / name) if name == "chat.jsonl" else Sqlite(where / name).conversation("ann")

            await write(store(kept))
            await store(kept).append([Started("c9", "pay", "{}", "key 9")])
            whole = await store(kept).load()
            for seed in range(DAMAGES):
                damaged(kept, name, folder, changes, seed)
                for suffix in ("-wal", "-shm"):
                    (folder / f"{name}{suffix}").unlink(missing_ok=True)
                try:
                    found = await store(folder).load()
                except SessionError:
                    counts[f"{name}: errors"] += 1
                except Exception:  # noqa: BLE001 (of another library, or of Python)
                    counts[f"{name}: foreign errors"] += 1
                else:
                    same = [*map(repr, found.messages)] == [*map(repr, whole.messages)]
                    records = len(found.started) + len(found.ended) == len(whole.started) + len(whole.ended)
                    counts[f"{name}: messages lost or changed silently"] += not same
                    counts[f"{name}: records of calls lost silently"] += same and not records

    with TemporaryDirectory() as folder, TemporaryDirectory() as kept:
        anyio.run(read, Path(folder), Path(kept))
    return "; ".join(f"{what} {count}" for what, count in sorted(counts.items()))


def forged_question() -> str:
    """A question for approval whose arguments steer the terminal."""
    hostile = "Mallory\r\x9b2J\u202e\x7f\u200b" + "\n" * 60
    call = ToolCall("1", "pay", json.dumps({"amount": 90000, "to": hostile}, ensure_ascii=False))
    asked: list[str] = []

    def answer(text: str = "") -> str:
        asked.append(text)
        return "yes but only /tmp"

    approver: Any = in_terminal
    with patch("builtins.input", answer), redirect_stdout(StringIO()) as shown, redirect_stderr(shown):
        decision = approver(call)
    asked.append(shown.getvalue())
    text = "".join(asked)
    raw = sum(character in text for character in "\r\x9b\u202e\x7f\u200b")
    return f"{raw} of 5 kinds of characters are shown raw; `yes but only /tmp` decides {decision!s:.40}"


ATTACKS: dict[str, Callable[[], str]] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        reference_to_itself, union_of_itself, deep_schema, wide_union, doubling_validated, doubling_inlined,
        backtracking, schemas_kept, numbers_that_are_none, paid_in_sub_agents, paid_by_two_runs, damaged_stores,
        forged_question,
    )
}  # fmt: skip


def attack_here(name: str) -> None:
    """Attack in this process, and print what came of it."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = ATTACKS[name]()
    seconds = time.process_time() - begun
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{outcome} ({seconds:.2f} s CPU, {grown:.0f} MB more)")


if __name__ == "__main__":
    if sys.argv[1:]:
        attack_here(sys.argv[1])
    else:
        print(json.dumps({name: attack.__doc__ for name, attack in ATTACKS.items()}))
