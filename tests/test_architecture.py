"""The shape of the code: storeys, sizes, and names."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

import agentkit

ROOT = Path(agentkit.__file__).parent

# A file imports only from storeys below its own. In a storey, no file knows another.
STOREYS: tuple[tuple[str, ...], ...] = (
    ("_json", "_docstrings", "choice", "fragments", "finish_reasons"),
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
    ("picking", "otel"),
    ("plan",),
    ("client", "execution", "enforcement", "models", "telling"),
    ("loop", "local"),
    ("performance", "composition"),
    ("runs", "delegation"),
    ("agent",),
    ("handoffs", "lint", "mcp", "server"),
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
    "agent": {"typing_extensions"},
    "testing": {"anyio"},
    "cli": {"anyio", "prompt_toolkit", "pydantic_core", "rich", "typer"},
    "server": {"anyio"},
    "mcp": {"anyio", "httpx2", "mcp"},
}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

FILES = sorted(ROOT.rglob("*.py"))


def unit_of(path: Path) -> str:
    """A file's name, or that of the folder that it is part of; the face has none."""
    return path.relative_to(ROOT).with_suffix("").parts[0].replace("__init__", "")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
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
