"""How well small models call tools: natively, `Prompted`, and by a plain prompt of one's own, on a public benchmark.

    uv run python benchmarks/small_models.py --write               # 200 prompts; rewrites docs/local-models.md
    uv run python benchmarks/small_models.py --most 20 --half tune # while a prompt is tuned
    uv run python benchmarks/small_models.py --model FILE.gguf     # another model than the embedded one

The prompts are those of `simple_python` and `multiple` of the Berkeley Function Calling Leaderboard, from the package
`bfcl-eval`, which uv brings into a folder that is thrown away. Whoever tunes looks at the half `tune` only, those with
even numbers; the table is about the half `test`, and tells of `Prompted(small=True)` on both. A call is exact if its
tool is the right one and each argument is among those that the benchmark accepts, as its own checker compares them.

All rows take most of an hour. With `--keep FILE`, each outcome is kept, and the same command goes on where it stopped.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from local_policies import native_server

from agentkit import AgentkitError, ChatClient, ChatRequest, Prompted, Settings, SystemMessage, Tool, UserMessage
from agentkit.core.chat import ToolSpec
from agentkit.core.choice import AUTO, ToolChoice
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import ToolCall

SETS = ("simple_python", "multiple")
TYPES = {"dict": "object", "float": "number", "tuple": "array"}
SHORT = Settings(max_tokens=150)  # the longest right call has 332 characters, indented
PAGE = Path(__file__).parent.parent / "docs/local-models.md"
BEGIN, END = "<!-- small models: begin -->", "<!-- small models: end -->"
WAYS = ("a prompt by hand", "Prompted", "Prompted, required", "small", "small, required", "native")
CALLED = ("exact", "right tool", "wrong tool", "not offered")
HEAD = """\
| | Half | Called | Right tool | Exact | Exact, one tool | Exact, several | Not offered | Errors |
|---|---|---:|---:|---:|---:|---:|---:|---|"""
BY_HAND = """You can call one of these functions. Answer with a JSON object {"name": NAME, "arguments": {…}}.

"""
_IGNORED = re.compile(r"[ ,./\-_*^]")


class Task(NamedTuple):
    """A prompt, the tools that are offered, and the values that each argument of the right call may have."""

    prompt: str
    tools: tuple[ToolSpec, ...]
    right: str
    accepted: Mapping[str, Sequence[object]]


def schema_of(given: object) -> object:
    """Return a schema of the benchmark as JSON schema: its types are those of Python."""
    if items := list_of(given):
        return [schema_of(item) for item in items]
    schema = {name: schema_of(value) for name, value in object_of(given).items() if name not in ("optional", "default")}
    if not schema:
        return given
    kind = schema.get("type")
    if kind == "any":
        del schema["type"]
    elif isinstance(kind, str):
        schema["type"] = TYPES.get(kind, kind)
    return schema


def name_of(given: str) -> str:
    """Return a tool's name as endpoints take it."""
    return given.replace(".", "_")


def tasks_in(folder: Path, half: str) -> Iterator[Task]:
    """Yield the tasks of a half, from both sets in turn."""
    sets = [list(_tasks_of(folder, name, half)) for name in SETS]
    for place in range(max(map(len, sets))):
        yield from [tasks[place] for tasks in sets if place < len(tasks)]


def _tasks_of(folder: Path, name: str, half: str) -> Iterator[Task]:
    questions = (folder / f"BFCL_v4_{name}.json").read_text().splitlines()
    answers = (folder / "possible_answer" / f"BFCL_v4_{name}.json").read_text().splitlines()
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        if (number % 2 == 0) != (half == "tune"):
            continue
        asked: Any = json.loads(question)
        ((right, accepted),) = json.loads(answer)["ground_truth"][0].items()
        tools = [
            Tool.from_schema(
                _do_nothing,
                name=name_of(tool["name"]),
                description=tool["description"],
                parameters=object_of(schema_of(tool["parameters"])),
            ).spec
            for tool in asked["function"]
        ]
        yield Task(asked["question"][0][0]["content"], tuple(tools), name_of(right), accepted)


def _do_nothing(**_: object) -> None:
    """Do nothing: no call runs here."""


def normal(value: object) -> object:
    """Return a value as the benchmark's checker compares it: texts without case, blanks and punctuation."""
    if isinstance(value, str):
        return _IGNORED.sub("", value).lower().replace("'", '"')
    items = list_of(value)
    return [normal(item) for item in items] if items else value


def fits(value: object, accepted: Sequence[object]) -> bool:
    """Whether a value is accepted. The fields of an object have lists of accepted values of their own."""
    if fields := object_of(value):
        return any(one and arguments_fit(fields, _fields(one)) for one in map(object_of, accepted))
    items = list_of(value)
    if items and all(map(object_of, items)):
        return any(
            len(known) == len(items)
            and all(arguments_fit(object_of(item), _fields(one)) for item, one in zip(items, known, strict=True))
            for known in map(list_of, accepted)
        )
    return normal(value) in [normal(one) for one in accepted]


def _fields(accepted: object) -> dict[str, list[object]]:
    return {name: list_of(values) for name, values in object_of(accepted).items()}


def arguments_fit(arguments: Mapping[str, object], accepted: Mapping[str, Sequence[object]]) -> bool:
    """Whether arguments are accepted; one may be missing if `""` is accepted for it."""
    return arguments.keys() <= accepted.keys() and all(
        fits(arguments[name], values) if name in arguments else "" in values for name, values in accepted.items()
    )


Way = Callable[[Task], Awaitable[ToolCall | None]]


def ways_at(address: str) -> dict[str, Way]:
    """Return the ways to have a model call a tool."""
    client = ChatClient("m", base_url=address, api_key="local")

    def by_model(model: Any, choice: ToolChoice = AUTO) -> Way:
        async def call(task: Task) -> ToolCall | None:
            request = ChatRequest((UserMessage(task.prompt),), task.tools, choice, settings=SHORT)
            calls = (await model.complete(request)).message.tool_calls
            return calls[0] if calls else None

        return call

    async def by_hand(task: Task) -> ToolCall | None:
        tools = "\n".join([json.dumps(tool.to_dict()["function"]) for tool in task.tools])
        request = ChatRequest(
            (SystemMessage(BY_HAND + tools), UserMessage(task.prompt)),
            settings=SHORT,
            response_format={"type": "json_schema", "json_schema": {"name": "call", "schema": call_schema(task.tools)}},
        )
        text = (await client.complete(request)).message.content or ""
        try:
            data: Any = json.loads(text)
            return ToolCall("call", data["name"], json.dumps(data["arguments"]))
        except (ValueError, KeyError, TypeError):
            return None

    prompted, small = Prompted(client), Prompted(client, small=True)
    return {
        "a prompt by hand": by_hand,
        "Prompted": by_model(prompted),
        "Prompted, required": by_model(prompted, ToolChoice("required")),
        "small": by_model(small),
        "small, required": by_model(small, ToolChoice("required")),
        "native": by_model(client),
    }


def call_schema(tools: Sequence[ToolSpec]) -> dict[str, object]:
    """Return the schema of a call of one of the tools, as one writes it by hand."""
    branches = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": dict(tool.parameters)},
            "required": ["name", "arguments"],
        }
        for tool in tools
    ]
    return {"anyOf": branches}


async def outcome_of(way: Way, task: Task) -> str:
    """Return what came of a task: one of `CALLED`, `no call`, or an error's name."""
    try:
        call = await way(task)
    except AgentkitError as error:
        return type(error).__name__
    if call is None:
        return "no call"
    if call.name != task.right:
        return "wrong tool" if any(call.name == tool.name for tool in task.tools) else "not offered"
    try:
        arguments = object_of(json.loads(call.arguments))
    except ValueError:
        return "right tool"
    return "exact" if arguments_fit(arguments, task.accepted) else "right tool"


def row_of(name: str, half: str, outcomes: Sequence[str], tasks: Sequence[Task]) -> str:
    """Return a row of the table."""
    counts = Counter(outcomes)
    several = [len(task.tools) > 1 for task in tasks]
    exact = Counter(many for outcome, many in zip(outcomes, several, strict=True) if outcome == "exact")
    cells = [
        name,
        f"`{half}`",
        sum(counts[kind] for kind in CALLED),
        counts["exact"] + counts["right tool"],
        f"{counts['exact']} ({100 * counts['exact'] / len(tasks):.0f} %)",
        *[f"{exact[many]} of {several.count(many)}" for many in (False, True)],
        counts["not offered"],
        ", ".join([f"{count} {kind}" for kind, count in counts.items() if kind not in (*CALLED, "no call")]),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def measure(
    rows: Mapping[tuple[str, str], Sequence[Task]], model: Path | None, kept: Path | None
) -> Mapping[tuple[str, str], Sequence[str]]:
    """Return what came of each task of each row, a way and a half."""
    outcomes: dict[str, list[str]] = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
    with native_server(model) as address, asyncio.Runner() as runner:
        ways = ways_at(address)
        for (name, half), tasks in rows.items():
            row = outcomes.setdefault(f"{name}, {half}", [])
            for task in tasks[len(row) :]:
                row.append(runner.run(outcome_of(ways[name], task)))
                print(f"{name}, {half}: {len(row)} of {len(tasks)}, {row.count('exact')} exact", file=sys.stderr)
                if kept is not None:
                    kept.write_text(json.dumps(outcomes))
    return {(name, half): outcomes[f"{name}, {half}"][: len(tasks)] for (name, half), tasks in rows.items()}


def main() -> None:
    """Read the command line, bring the prompts, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--most", type=int, default=200, help="how many prompts")
    parser.add_argument("--half", choices=("tune", "test"), help="this half only")
    parser.add_argument("--ways", default=";".join(WAYS), help="the names of the rows, with semicolons")
    parser.add_argument("--keep", type=Path, help="a file for the outcomes so far")
    parser.add_argument("--write", action="store_true", help="rewrite the table of the documentation")
    parser.add_argument("--data", type=Path, help="the folder `data` of the package, if it is there already")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as target:
        folder = given.data
        if folder is None:
            uv = os.environ.get("UV") or shutil.which("uv")
            if uv is None:
                sys.exit("uv brings the prompts, and it is not installed: pip install uv")
            install = [uv, "pip", "install", "--quiet", "--no-deps", "--target", target, "bfcl-eval"]
            subprocess.run(install, check=True)  # noqa: S603
            folder = Path(target, "bfcl_eval", "data")
        rows = {
            (name, half): list(islice(tasks_in(folder, half), given.most))
            for half in ([given.half] if given.half else ("test", "tune"))
            for name in given.ways.split(";")
            if given.half or half == "test" or name.startswith("small")
        }
    outcomes = measure(rows, given.model, given.keep)
    table = "\n".join([HEAD, *[row_of(*row, outcomes[row], tasks) for row, tasks in rows.items()]])
    print(table)
    if given.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
