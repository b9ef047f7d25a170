"""The shape of the code: storeys, sizes, and names."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import agentkit

ROOT = Path(agentkit.__file__).parent

# A file imports only from storeys below its own. In a storey, no file knows another.
STOREYS: tuple[tuple[str, ...], ...] = (
    ("_lazy", "_frozen"),
    ("_later", "_json", "_docstrings", "choice", "fragments", "finish_reasons", "file_locks", "progress"),
    ("messages", "http_request"),
    ("errors", "context"),
    ("exact", "costs"),
    (
        "_sse",
        "wire",
        "schema",
        "history",
        "rate_headers",
        "sizes",
        "timeouts",
        "options",
        "plain",
        "secrets",
        "approval",
    ),
    (
        *("state", "assembly", "model", "strict", "raw_schema", "mending", "profiles", "failures", "retries", "pacing"),
        *("addresses", "stored", "repair"),
    ),
    ("events", "limits", "tools", "results", "reading", "limiters", "deadlines"),
    ("toolbox",),
    ("tool_choice", "endings", "answers", "threads", "connections", "processes", "shortening", "journals", "gen_ai"),
    ("dependencies", "sessions", "outputs", "recorder", "calling", "observers"),
    ("picking", "otel", "batch_journals"),
    ("plan",),
    ("client", "execution", "enforcement", "models", "telling", "outcomes"),
    ("loop", "local"),
    ("performance", "composition"),
    ("runs", "delegation"),
    ("batches",),
    ("agent",),
    ("durable", "handoffs", "lint", "mcp", "server"),
    ("testing",),
    ("cli",),
    ("__main__",),
    ("",),  # the face
)
STOREY = {name: number for number, names in enumerate(STOREYS) for name in names}

# What a file may use beyond the standard library and agentkit; the extras are imported only where they are used.
PACKAGES = {
    "_json": {"pydantic_core"},
    "_docstrings": {"docstring_parser"},
    "fragments": {"pydantic", "pydantic_core"},
    "schema": {"pydantic", "pydantic_core"},
    "raw_schema": {"pydantic_core"},
    "mending": {"pydantic_core"},
    "answers": {"pydantic_core"},
    "limiters": {"anyio"},
    "deadlines": {"anyio"},
    "threads": {"anyio"},
    "dependencies": {"anyio"},
    "outputs": {"pydantic_core"},
    "processes": {"anyio"},
    "journals": {"anyio"},
    "execution": {"anyio", "pydantic_core"},
    "calling": {"anyio"},
    "performance": {"anyio"},
    "otel": {"opentelemetry"},
    "addresses": {"httpx"},
    "client": {"anyio", "httpx"},
    "connections": {"anyio", "httpx"},
    "local": {"anyio"},
    "runs": {"anyio", "sniffio"},
    "batch_journals": {"anyio"},
    "batches": {"anyio", "typing_extensions"},
    "testing": {"anyio"},
    "agent": {"typing_extensions"},
    "cli": {"anyio", "prompt_toolkit", "pydantic_core", "rich", "typer"},
    "server": {"anyio"},
    "mcp": {"anyio", "httpx2", "mcp"},
    "durable": {"anyio", "dbos", "psycopg", "sqlalchemy"},
}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

FILES = sorted(ROOT.rglob("*.py"))


def unit_of(path: Path) -> str:
    """A file's name, or that of the folder that it is part of; the face has none."""
    return path.relative_to(ROOT).with_suffix("").parts[0].replace("__init__", "")


def homes_in(path: Path) -> dict[str, str]:
    """The names that a file imports, by the modules that they come from."""
    tree = ast.parse(path.read_text())
    return {
        alias.name: node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


LATER = homes_in(ROOT / "_later.pyi")


def imports(path: Path) -> set[str]:
    """What a file imports, also what it loads later."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_later":
            found.add(LATER[node.attr])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "_later." in node.value:
            found |= {LATER[name] for name in re.findall(r"_later\.(\w+)", node.value) if name in LATER}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module
            found |= {f"agentkit.{alias.name}" for alias in node.names} if node.module == "agentkit" else {node.module}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_below(path: Path) -> None:
    own = unit_of(path)
    assert own in STOREY, f"{own} has no storey yet: give it one"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "agentkit":
            below = rest.partition(".")[0]
            assert below, f"{path} imports the root"
            assert below == own or STOREY[below] < STOREY[own], f"{own} imports {below}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_only_the_packages_that_it_may(path: Path) -> None:
    outside = {name.partition(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"agentkit"}
    assert outside <= PACKAGES.get(unit_of(path), set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_is_hidden(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert "TYPE_CHECKING" not in path.read_text()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
            assert inside == [], f"{path}: {function.name} imports"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            begin = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
            assert (node.end_lineno or 0) - begin < LONGEST_FUNCTION, f"{path}: {node.name}"


def test_the_loop_stays_what_it_is() -> None:
    source = (ROOT / "loop.py").read_text()
    drive = next(node for node in ast.parse(source).body if getattr(node, "name", "") == "drive")
    assert isinstance(drive, ast.AsyncFunctionDef)
    assert ast.unparse(ast.Module(drive.body[1:], [])) == (
        "while not state.finished:\n"
        "    if (calls := state.unanswered):\n"
        "        state = state.answered(await execute(calls, plan, state, emit))\n"
        "    else:\n"
        "        state = state.heard(await ask(plan, state, emit))\n"
        "return state"
    )


LAZY = ["__init__", "_later", "models/__init__", "tool_choice/__init__"]


@pytest.mark.parametrize("name", LAZY)
def test_what_is_loaded_later_is_what_the_stub_says(name: str) -> None:
    stub = ROOT / f"{name}.pyi"
    module = importlib.import_module(".".join(["agentkit", *name.split("/")]).removesuffix(".__init__"))
    assert module.__all__ == sorted(homes_in(stub))
    for shown, home in homes_in(stub).items():
        assert getattr(module, shown) is getattr(importlib.import_module(home), shown)
    assert sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.pyi")) == [
        Path(each) for each in LAZY
    ]


@pytest.mark.parametrize(
    "name", ["agentkit", "agentkit.tool_choice", "agentkit.models", "agentkit.server", "agentkit.testing"]
)
def test_a_face_is_sorted_and_whole(name: str) -> None:
    module = importlib.import_module(name)
    names: list[str] = module.__all__
    assert names == sorted(names)
    assert all(hasattr(module, each) for each in names)
    public = {
        each for each, value in vars(module).items() if not each.startswith("_") and not isinstance(value, type(ast))
    }
    assert public == set(names)


def test_every_file_has_its_tests() -> None:
    tests = {path.name for path in Path(__file__).parent.rglob("test_*.py")}
    for path in FILES:
        if path.name != "__init__.py":
            assert f"test_{path.stem.strip('_')}.py" in tests, f"{path} has no tests of its own"
