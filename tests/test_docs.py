"""Tests of the pages: they are in the navigation, their links lead somewhere, and their Python blocks run.

Blocks run in order, in one namespace for each page, against a fake endpoint. Tests that a block defines run too.
"""

import ast
import asyncio
import importlib
import inspect
import json
import logging
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import anyio
import pytest

import agentkit
from agentkit import Limits, Profile, ReplyLimits, Retries, Timeouts, testing, tool_choice
from agentkit.core import errors
from agentkit.models.client import profiles
from agentkit.server import ChatServer
from tests import drawings, quirk_table, rooms, word_runs
from tests.endpoint import Json, calls, serving, text

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
GUIDES = [page for page in PAGES if "reference" not in page.parts]

SITE = runpy.run_path(str(DOCS / "site_hooks.py"))
ANSWER = "Yes: light rain in Paris, 18 degrees."
WIDEST = 84  # characters of a line of code that the site shows without clipping it
SAMPLES = {"claim": "It rains in Paris.", "title": "Broken lamp"}

SOUGHT = (
    *("system prompt", "structured output", "human in the loop", "guardrail", "middleware", "backoff", "jitter"),
    *("cron", "handoff", "hallucination", "context window", "rate limit"),
    *("idempotency", "streaming", "reasoning", "ollama", "azure", "docker", "jupyter"),
)

_FENCE = re.compile(
    r"^(?P<margin> *)```(?P<kind>\w*)(?P<options>[^\n]*)\n(?P<body>.*?)^(?P=margin)```$", re.MULTILINE | re.DOTALL
)
_SNIPPET = re.compile(r'^--8<-- "(?P<path>[^":]+)(?::(?P<section>[\w-]+))?"$')
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


class Block(NamedTuple):
    kind: str
    options: str
    body: str

    @property
    def snippets(self) -> list[tuple[Path, str | None]]:
        """The files that the block includes, with their sections; a block with snippets has nothing else."""
        lines = self.body.splitlines()
        included = [(ROOT / match["path"], match["section"]) for line in lines if (match := _SNIPPET.match(line))]
        assert len(included) in (0, len(lines)), f"a block is either a snippet or code:\n{self.body}"
        return included

    @property
    def is_output(self) -> bool:
        return 'title="output"' in self.options


def blocks_of(page: Path) -> list[Block]:
    blocks: list[Block] = []
    for match in _FENCE.finditer(page.read_text()):
        margin = match["margin"]
        lines = [line.removeprefix(margin) for line in match["body"].splitlines()]
        blocks.append(Block(match["kind"], match["options"], "\n".join(lines) + "\n"))
    return blocks


def section_of(path: Path, section: str | None) -> str:
    """The text that a snippet includes."""
    source = path.read_text()
    if section is None:
        return source
    begin, end = f"# --8<-- [start:{section}]\n", f"# --8<-- [end:{section}]"
    assert source.count(begin) == source.count(end) == 1, f"{path} has no section {section}"
    return source.partition(begin)[2].partition(end)[0]


def slug(heading: str) -> str:
    bare = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
    return re.sub(r"[-\s]+", "-", bare)


def anchors_of(page: Path) -> set[str]:
    prose = _FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+?)(?: \{#([\w-]+)\})?$", prose, re.MULTILINE)
    return {name or slug(heading) for heading, name in headings}


def sample(schema: Json, name: str = "") -> Any:
    """A value that fits a schema."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            return "2026-12-01" if schema.get("format") == "date" else SAMPLES.get(name, "Paris")
        case "integer":
            return int(schema.get("minimum", 3))
        case "array":
            return [sample(schema["items"])]
        case "object":
            return {key: sample(schema["properties"][key], key) for key in schema.get("required", ())}
        case kind:
            raise AssertionError(f"no sample for {kind}")


def obedient(request: Json) -> Json:
    """Reply as an obedient model: call each tool once, in order, if calls are allowed; then answer."""
    messages, tools = request["messages"], request.get("tools", [])
    spoken = max(at for at, message in enumerate(messages) if message["role"] == "user")
    called = [call["function"]["name"] for message in messages[spoken:] for call in message.get("tool_calls") or ()]
    by_name: dict[str, Json] = {tool["function"]["name"]: tool["function"] for tool in tools}
    choice: Any = request.get("tool_choice", "auto")
    wanted: str | None
    if choice not in ("auto", "required", "none"):
        wanted = choice["function"]["name"]
    elif choice == "required":
        wanted = next((name for name in by_name if name not in called), next(iter(by_name)))
    else:
        wanted = next(iter(by_name), None) if choice == "auto" and not called else None
    if wanted is None:
        return text(ANSWER)
    return calls((wanted, sample(by_name[wanted]["parameters"])), ids=[f"call_{len(messages)}"])


def run(code: CodeType, names: dict[str, Any]) -> None:
    """Run a block as a notebook does: `await` is allowed at the top level."""
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))  # noqa: S307 (the project's own documentation)
    else:
        exec(code, names)  # noqa: S102 (as above)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    # DBOS keeps the stream that was `sys.stderr` when it first began, which is closed when the page is over.
    monkeypatch.setattr(logging.getLogger("dbos"), "handlers", [])
    model = tmp_path / "models" / "qwen2.5-0.5b-instruct.gguf"
    model.parent.mkdir()
    model.touch()
    with serving(obedient) as served:
        monkeypatch.setenv("AGENTKIT_BASE_URL", served.url)
        yield


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_the_python_of_a_page_runs_and_prints_what_it_says(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for number, block in enumerate(blocks_of(page)):
        if block.is_output:
            assert printed.rstrip("\n") == block.body.rstrip("\n")
        elif block.kind == "python":
            if block.snippets:
                for path, section in block.snippets:
                    ast.parse(section_of(path, section))
                continue
            code = compile(block.body, f"{name_of(page)}:{number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            capsys.readouterr()
            known = set(names)
            run(code, names)
            printed = capsys.readouterr().out
            for name in names.keys() - known:
                if name.startswith("test_") and isinstance(names[name], FunctionType):
                    names[name]()


def test_every_fence_says_what_it_is() -> None:
    for page in PAGES:
        assert page.read_text().count("```") == 2 * len(blocks_of(page))
        for block in blocks_of(page):
            assert block.kind in ("python", "console", "text"), block


def test_no_line_of_code_is_wider_than_a_page() -> None:
    for page in PAGES:
        code = [section_of(*snippet) for block in blocks_of(page) for snippet in block.snippets]
        code += [block.body for block in blocks_of(page)]
        assert [line for text in code for line in text.splitlines() if len(line) > WIDEST] == []


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in _LINK.findall(_FENCE.sub("", page.read_text())):
            address, _, anchor = link.partition("#")
            if address.startswith("https://"):
                continue
            target = (page.parent / address).resolve() if address else page
            assert target.is_file(), f"{name_of(page)} links to {link}"
            if anchor and "reference" not in target.parts:
                assert anchor in anchors_of(target), f"{name_of(page)} links to {link}"


def test_the_navigation_lists_every_page_once() -> None:
    listed = re.findall(r"^ +- [^:\n]+: ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_what_pages_say_of_a_module_and_its_members_is_there() -> None:
    for page in sorted((DOCS / "reference").glob("*.md")):
        for path in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            names = path.split(".")
            member: Any = agentkit
            for at, name in enumerate(names[1:], 2):
                member = getattr(member, name, None) or importlib.import_module(".".join(names[:at]))


def test_every_public_name_is_in_the_reference() -> None:
    reference = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    paths = re.findall(r"^::: (\S+)$", reference, re.MULTILINE)
    shown = {path.rpartition(".")[2] for path in paths}
    shown.update(*[vars(sys.modules[path]) for path in paths if path in sys.modules])
    for face in (agentkit, testing, tool_choice):
        missing = {name for name in face.__all__ if name not in shown and f"`{name}`" not in reference}
        assert missing == set(), face.__name__


def test_every_policy_and_every_error_is_in_its_table() -> None:
    policies = (DOCS / "tool-choice/policies.md").read_text()
    machinery = {"analyse", "both", "fixed", "policy_of", "rule"}
    verdicts = {"Call", "Verdict", "allow", "ask", "deny"}
    kinds = {"Part", "Policy", "PolicyLike", "Report", "ToolChoice", "ToolLike", "ToolName"}
    for name in set(tool_choice.__all__) - machinery - verdicts - kinds:
        assert re.search(rf"^\| `{name}(?:\(.*\))?` \|", policies, re.MULTILINE), name
    page = (DOCS / "errors.md").read_text()
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.AgentkitError):
            assert f"`{name}`" in page, name


def test_the_order_of_and_is_what_the_table_says() -> None:
    def policy(cell: str) -> Any:
        bare = cell.strip(" *").replace("`", "")
        named: dict[str, Any] = {"tool X": "x", "tool Y": "y", "required, firm": tool_choice.before_answer("z")}
        return tool_choice.policy_of(named.get(bare, bare))

    page = (DOCS / "tool-choice/policies.md").read_text()
    table = page.partition("## The order of")[2].partition("\n| ")[2].partition("\n\n")[0].splitlines()
    head = table[0].strip("|").split("|")
    columns = [cell for cell in head if cell.strip()]
    state = agentkit.State.of((agentkit.UserMessage("Hello"),))
    rows = [line.strip("|").split("|") for line in table[2:]]
    assert (len(columns), len(rows)) == (4, 6)
    for left, *cells in rows:
        for right, cell in zip(columns, cells, strict=True):
            for both in (policy(left) & policy(right), policy(right) & policy(left)):
                if cell.strip() == "contradiction":
                    with pytest.raises(agentkit.PolicyContradiction):
                        both(state)
                else:
                    assert str(both(state)) == str(policy(cell)(state)), (left, right)


def test_what_pages_install_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in PAGES:
        for extras in re.findall(r"\.\[([\w,]+)\]", page.read_text()):
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), name_of(page)
        commands = "".join(block.body for block in blocks_of(page) if block.kind == "console")
        assert not re.search(r"pip install \"?agentkit\b", commands), f"{name_of(page)}: that is another project"
    assert f"## {project['version']} " in (DOCS / "changelog.md").read_text()


def test_the_files_that_contributors_are_sent_to_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"(?<![\w.])(?:agentkit|tests|docs|benchmarks|\.ci)/[\w./-]+", page)
    assert [path for path in paths if "NAME" not in path and not (ROOT / path.rstrip(".")).exists()] == []
    for name, path in re.findall(r"`(\w+)` in `([\w/]+\.py)`", page):
        assert re.search(rf"\b{name}\b", (ROOT / path).read_text()), f"{path} has no {name}"


def test_two_commands_of_the_readme_do_all_the_set_up() -> None:
    run_it, test_it = [block.body for block in blocks_of(PAGES[0]) if block.body.startswith("$ python3 -m venv")]
    (example,) = re.findall(r"\.venv/bin/python (\S+)$", run_it, re.MULTILINE)
    assert (ROOT / example).is_file()
    assert test_it.endswith("-m pytest\n")
    for command in (run_it, test_it):  # one command line: every line but the last goes on
        first, *others = command.splitlines()
        assert all(line.endswith("&&") for line in [first, *others][:-1])


@pytest.mark.parametrize("word", SOUGHT)
def test_a_search_for_the_fields_words_leads_somewhere(word: str) -> None:
    for page in GUIDES:
        if DOCS in page.parents and page.stem != "changelog":
            prose = _FENCE.sub("", page.read_text())
            places = re.findall(r"^#+ (.+)\n+(.+(?:\n.+)*)", prose, re.MULTILINE)
            if any(word in f"{heading} {first}".lower() for heading, first in places):
                return
    pytest.fail(f"no page has {word!r} in a heading or in the paragraph below it")


def test_the_drawing_of_the_rooms_is_current() -> None:
    assert rooms.PICTURE.read_text() == rooms.drawing(), "draw it again: python -m tests.rooms --write"


@pytest.mark.parametrize("name", drawings.NAMES)
def test_a_drawing_is_of_its_source_as_it_is_now(name: str) -> None:
    assert drawings.is_current(name), "draw it again: python -m tests.drawings"


def test_the_tutorial_prints_what_the_embedded_model_printed() -> None:
    assert SITE["is_current"](SITE["TUTORIAL"]), "make it again: python docs/site_hooks.py"
    made = SITE["TUTORIAL"].with_suffix(".txt").read_text()
    sections = [section for block in blocks_of(DOCS / "tutorial.md") for _, section in block.snippets]
    printing = re.findall(r"^# --8<-- \[start:([\w-]+)\]$", made, re.MULTILINE)
    assert [section for section in sections if section in printing] == [name for name in printing for _ in range(2)]


@pytest.mark.parametrize(("html", "count"), [
    ('<script src="assets/a.js"></script><a href="https://example.org">', 0), ('<img src="../a.svg">', 0),
    ('<script src="https://unpkg.com/mermaid"></script>', 1), ("<link rel=stylesheet href=//x.org/a.css>", 1),
    ("<style>body{background:url(https://x.org/a.png)}</style>", 1), ('<img alt="a" src="http://x.org/a.png">', 1),
])  # fmt: skip
def test_the_site_fetches_nothing_from_elsewhere(html: str, count: int) -> None:
    assert len(SITE["fetched"](html)) == count


@pytest.mark.parametrize(
    "page", [page for page in GUIDES if DOCS in page.parents and page.stem != "changelog"], ids=name_of
)
def test_a_page_opens_with_what_it_is_for_and_something_to_run(page: Path) -> None:
    text = re.sub(r"\A---\n.*?\n---\n+", "", page.read_text(), flags=re.DOTALL)  # how the page is shown
    opening = re.split(r"^## ", text, maxsplit=2, flags=re.MULTILINE)[:2]
    first = re.sub(r"^# .*\n+", "", opening[0]).strip()
    assert first[:1].isalpha() or first.startswith("`"), "it opens with what it is for"
    assert any(re.search(rf"```{kind}\n", "".join(opening)) for kind in ("python", "console")), "no block to run"


DOCKERFILE = ROOT / "examples/deploy/Dockerfile"


def test_the_dockerfile_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine is at hand here: what can be said without building it."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    words = [word for word, _ in steps]
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert set(words) <= known
    by_word = dict(steps)
    assert words[0] == "FROM"
    assert re.fullmatch(r"python:3\.\d+-slim", by_word["FROM"])
    assert words.index("USER") > max(at for at, word in enumerate(words) if word == "RUN")
    assert by_word["USER"] not in ("root", "0")
    for word, rest in steps:
        if word == "COPY":
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest
        if word == "RUN":
            assert "--no-cache-dir" in rest
    command, check = json.loads(by_word["CMD"]), by_word["HEALTHCHECK"]
    assert command[:2] == ["uvicorn", "service:app"]
    assert (command[command.index("--port") + 1], "/healthz" in check) == (by_word["EXPOSE"], True)
    monkeypatch.setenv("AGENTKIT_MODEL", "m")
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    service = runpy.run_path(str(ROOT / "examples/deploy/service.py"))
    assert isinstance(service["app"], ChatServer)


@pytest.mark.parametrize("example", word_runs.EXAMPLES, ids=name_of)
def test_an_example_of_policies_prints_what_its_page_says(example: Path) -> None:
    written = example.with_suffix(".txt").read_text()
    assert word_runs.printed(example) == written, "write it again: python -m tests.word_runs"


def test_the_table_of_quirks_is_what_comes_of_them() -> None:
    results = anyio.run(quirk_table.outcomes)
    assert results.keys() == {quirk.name for quirk in testing.quirks()}
    written = quirk_table.PAGE.read_text()
    assert quirk_table.page(written, results) == written, "write it again: python -m tests.quirk_table"


def test_the_defaults_that_a_page_shows_are_those_of_the_code() -> None:
    shown = blocks_of(DOCS / "dependable.md")[0].body
    for default in (Retries(), Timeouts(), ReplyLimits(), Limits()):
        kind = type(default)
        (call,) = re.findall(rf"\b{kind.__name__}\(.*?\)", shown, re.DOTALL)
        assert eval(call, {kind.__name__: kind}) == default  # noqa: S307 (the project's own documentation)


def test_every_profile_is_in_its_table() -> None:
    page = (DOCS / "endpoints.md").read_text()
    reference = (DOCS / "reference/clients.md").read_text()
    for name, value in vars(profiles).items():
        if isinstance(value, Profile):
            assert f"\n| `{name}` |" in page, name
            assert f"\n        - {name}\n" in reference, name
