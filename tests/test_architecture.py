"""The shape of the code: rooms, sizes, and names."""

import ast
import importlib
import sys
import tomllib
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

from tests.rooms import FILES, FLOOR, MODULES, ONLY_CORE, ROOT, arrows, imports, module_of, nodes_of, room_of

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
EVERYWHERE = {"anyio", "pydantic", "pydantic_core", "typing_extensions"}
# What a room may use beyond the standard library; the extras are imported only where they are used.
PACKAGES = {
    "core": {"sniffio"},
    "tools": {"docstring_parser"},
    "models": {"httptools", "httpx", "sniffio"},
    "runs": {"genai_prices", "sniffio"},
    "observers": {"opentelemetry"},
    "mcp": {"httpx2", "mcp"},
    "durable": {"dbos", "psycopg", "sqlalchemy"},
    "cli": {"httpx", "markdown_it", "prompt_toolkit", "rich", "typer"},
}

# What a room imports where it is used, because few programs need it and it costs much at each start.
LATE = {
    "agentkit.agent.agent": {"from agentkit.runs.batch.batch import Batch, MapOptions"},
    "agentkit.agent.builder": {
        "from agentkit.models.continuing import Continuing",
        "from agentkit.models.local import LocalModel",
    },
    "agentkit.agent.mistakes": {"from agentkit.sessions.jsonl import JsonLines"},
    "agentkit.core.concurrency": {
        "from agentkit.core.on_asyncio import call_to_its_end",
        "from agentkit.core.on_asyncio import in_own_task",
        "from agentkit.core.on_asyncio import run_to_its_end",
    },
    "agentkit.core.parts": {"from mimetypes import guess_type"},
    "agentkit.models.client.address": {"import httpx"},
    "agentkit.models.client.chat_client": {"from agentkit.models.client.callers_http import send"},
    "agentkit.models.client.connections": {"import httpx"},
    "agentkit.models.client.providers": {"from difflib import get_close_matches"},
    "agentkit.models.client.wire": {
        "from agentkit.models.client.asyncio_reader import SocketReader",
        "from agentkit.models.client.asyncio_reader import connected_to",
    },
    "agentkit.runs.governing": {"from agentkit.tool_choice.analysis import refusal"},
    "agentkit.runs.handle": {"import asyncio"},
    "agentkit.runs.known_prices": {
        "import genai_prices",
        "from genai_prices.data_snapshot import get_snapshot",
    },
    "agentkit.runs.invoke": {"import asyncio", "from agentkit.runs.processes import worker_process"},
    "agentkit.runs.output": {"from agentkit.tools.schema.json_schema import arguments_from_schema"},
    "agentkit.runs.result": {
        "from html import escape",
        "from agentkit.runs.timeline import recorded_run",
        "from agentkit.viewer import graph_of, page_of, usage_facts",
    },
    "agentkit.tools.tool": {
        "from agentkit.tools.schema import docstrings",
        "from agentkit.tools.schema.json_schema import arguments_from_schema",
    },
}
TYPED_LATE = {
    "agentkit",
    "agentkit.agent.agent",
    "agentkit.models",
    "agentkit.models.client.wire",
    "agentkit.runs.handle",
    "agentkit.runs.result",
    "agentkit.tool_choice",
}
"""Files whose types name what they load late, or hide an attribute that only explains a mistake."""


def functions_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in nodes_of(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_imports_run_down() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(FLOOR), "a room is missing from tests/rooms.py, or is gone"
    for (above, below), files in arrows().items():
        assert FLOOR[above] > FLOOR[below], f"{files} import {below}, which is not below {above}"
        assert above not in ONLY_CORE or below == "core", f"{files} import {below}: {above} may import only core"
        assert above != "runs" or below not in ("models", "sessions"), f"{files} import {below}: runs may not"


def test_files_import_one_another_in_no_circle() -> None:
    sorter = TopologicalSorter({module: set(imports(path)) - {module} for module, path in MODULES.items()})
    sorter.prepare()  # raises CycleError, which names the circle


def test_nobody_imports_the_root() -> None:
    assert [path for path in FILES if path.parent != ROOT and "agentkit" in set(imports(path))] == []


def test_a_room_uses_only_the_packages_that_it_may() -> None:
    for path in FILES:
        ours = {*sys.stdlib_module_names, "annotationlib", "agentkit"}  # `annotationlib` is new in Python 3.14
        outside = {name.partition(".")[0] for name in imports(path)} - ours
        assert outside <= EVERYWHERE | PACKAGES.get(room_of(module_of(path)), set()), path


def test_nobody_imports_a_private_name() -> None:
    for path in FILES:
        nodes = [node for node in nodes_of(path) if isinstance(node, ast.ImportFrom)]
        assert [alias.name for node in nodes for alias in node.names if alias.name.startswith("_")] == [], path


def test_no_import_is_hidden() -> None:
    """Only what costs much and few programs need is imported where it is used: a program's start is measured."""
    for path in FILES:
        name = module_of(path)
        assert "TYPE_CHECKING" not in path.read_text() or name in TYPED_LATE
        for node in functions_of(path):
            inside = [ast.unparse(part) for part in ast.walk(node) if isinstance(part, ast.Import | ast.ImportFrom)]
            assert set(inside) <= LATE.get(name, set()), f"{path}: {node.name} imports"


def test_files_and_functions_are_short() -> None:
    for path in FILES:
        assert len(path.read_text().splitlines()) <= LONGEST_FILE, path
        for node in functions_of(path):
            begin = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
            assert (node.end_lineno or 0) - begin < LONGEST_FUNCTION, f"{path}: {node.name}"


def test_the_loop_stays_what_it_is() -> None:
    source = (ROOT / "runs/loop.py").read_text()
    drive = next(node for node in ast.parse(source).body if getattr(node, "name", "") == "drive")
    assert isinstance(drive, ast.AsyncFunctionDef)
    assert ast.unparse(ast.Module(drive.body[1:], [])) == (
        "while not state.finished:\n"
        "    if (calls := state.unanswered):\n"
        "        state = state.with_results(await execute(calls, plan, state, emit))\n"
        "    else:\n"
        "        state = state.with_reply(await ask(plan, state, emit))\n"
        "return state"
    )


@pytest.mark.parametrize("room", [path for path in FILES if path.name == "__init__.py"], ids=module_of)
def test_each_room_says_what_it_is_for(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse(room.read_text())) or ""
    assert room.parent == ROOT or len(docstring.split()) >= 25


def test_the_root_shows_few_rooms() -> None:
    shown = [path for path in ROOT.iterdir() if path.name not in ("__pycache__", "py.typed")]
    assert len(shown) <= 17
    assert not list(ROOT.rglob("*.pyi"))


@pytest.mark.parametrize(
    "name",
    [
        *("agentkit", "agentkit.tool_choice", "agentkit.models", "agentkit.sessions", "agentkit.observers"),
        *("agentkit.server", "agentkit.testing", "agentkit.mcp", "agentkit.durable"),
    ],
)
def test_a_face_is_sorted_and_whole(name: str) -> None:
    module = importlib.import_module(name)
    names: list[str] = module.__all__
    assert names == sorted(names)
    assert all(hasattr(module, shown) for shown in names)


def test_the_root_loads_what_is_heavy_when_it_is_asked_for() -> None:
    root = importlib.import_module("agentkit")
    assert {name for name in root.__all__ if name not in dir(root)} <= set(vars(root)["_LATER"])
    for module in (root, importlib.import_module("agentkit.models")):
        with pytest.raises(AttributeError, match="Agnet"):
            _ = module.Agnet


def test_what_users_install_has_upper_bounds() -> None:
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    extras = [names for extra, names in project["optional-dependencies"].items() if extra not in ("test", "local")]
    names = [*project["dependencies"], *chain(*extras)]  # the version of what `local` installs is a date
    assert [name for name in names if ",<" not in name] == []


def test_every_file_has_its_tests() -> None:
    tests = {path.name for path in Path(__file__).parent.rglob("test_*.py")}
    for path in FILES:
        if path.name != "__init__.py":
            assert f"test_{path.stem.strip('_')}.py" in tests, f"{path} has no tests of its own"
