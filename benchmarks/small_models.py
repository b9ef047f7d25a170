"""How well small models call tools: natively, `Prompted`, and by a plain prompt of one's own, on a public benchmark.

    uv run python benchmarks/small_models.py                       # 200 prompts; prints the table
    uv run python benchmarks/small_models.py --most 20 --half tune # while a prompt is tuned
    uv run python benchmarks/small_models.py --model FILE.gguf     # another model than the embedded one

The prompts are those of `simple_python` and `multiple` of the Berkeley Function Calling Leaderboard, from the package
`bfcl-eval`, which uv brings into a folder that is thrown away. Whoever tunes looks at the half `tune` only, those with
even numbers; the table is about the half `test`. A call is exact if its tool is the right one and each argument is
among those that the benchmark accepts, as its own checker compares them.
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
from agentkit.core.json import list_of, object_of
from agentkit.core.messages import ToolCall

SETS = ("simple_python", "multiple")
TYPES = {"dict": "object", "float": "number", "tuple": "array"}
SHORT = Settings(max_tokens=200)
BY_HAND = """You can call one of these functions. Answer with nothing but a JSON object \
{"name": NAME, "arguments": {…}}.

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

    def by_model(model: Any) -> Way:
        async def call(task: Task) -> ToolCall | None:
            request = ChatRequest((UserMessage(task.prompt),), task.tools, settings=SHORT)
            calls = (await model.complete(request)).message.tool_calls
            return calls[0] if calls else None

        return call

    async def by_hand(task: Task) -> ToolCall | None:
        tools = "\n".join([json.dumps(tool.to_dict()["function"]) for tool in task.tools])
        request = ChatRequest((SystemMessage(BY_HAND + tools), UserMessage(task.prompt)), settings=SHORT)
        text = (await client.complete(request)).message.content or ""
        found = re.search(r"\{.*\}", text, re.DOTALL)
        try:
            data: Any = json.loads(found.group() if found else "")
            return ToolCall("call", data["name"], json.dumps(data["arguments"]))
        except (ValueError, KeyError, TypeError):
            return None

    return {
        "native": by_model(client),
        "Prompted": by_model(Prompted(client)),
        "Prompted, decide first": by_model(Prompted(client, decide_first=True)),
        "a prompt by hand": by_hand,
    }


async def counted(way: Way, tasks: Sequence[Task]) -> Counter[str]:
    """Return how many tasks were called at all, with the right tool, and exactly."""
    counts = Counter[str]()
    for task in tasks:
        try:
            call = await way(task)
        except AgentkitError as error:
            counts[f"error: {type(error).__name__}"] += 1
            continue
        if call is None:
            continue
        counts["called"] += 1
        counts["not offered"] += all(call.name != tool.name for tool in task.tools)
        counts["right tool"] += call.name == task.right
        try:
            arguments = object_of(json.loads(call.arguments))
        except ValueError:
            continue
        counts["exact"] += call.name == task.right and arguments_fit(arguments, task.accepted)
    return counts


async def measure(tasks: Sequence[Task], chosen: Sequence[str], model: Path | None) -> None:
    """Measure the ways, and print a row for each."""
    columns = ("called", "right tool", "exact", "not offered")
    print(f"| {len(tasks)} prompts | {' | '.join(columns)} | errors |\n|---|{'---:|' * len(columns)}---|")
    with native_server(model) as address:
        for name, way in ways_at(address).items():
            if chosen and name not in chosen:
                continue
            counts = await counted(way, tasks)
            errors = ", ".join([f"{count} {what[7:]}" for what, count in counts.items() if what.startswith("error")])
            print(f"| {name} | {' | '.join(str(counts[column]) for column in columns)} | {errors} |", flush=True)


def main() -> None:
    """Read the command line, bring the prompts, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--most", type=int, default=200, help="how many prompts")
    parser.add_argument("--half", choices=("tune", "test"), default="test")
    parser.add_argument("--ways", default="", help="the names of the rows, with semicolons")
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
        tasks = list(islice(tasks_in(folder, given.half), given.most))
        asyncio.run(measure(tasks, [name for name in given.ways.split(";") if name], given.model))


if __name__ == "__main__":
    main()
