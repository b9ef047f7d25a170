import os
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, ChatClient, ConfigurationError, SystemMessage
from agentkit.cli import targets
from agentkit.cli.targets import Target, load_agents
from tests.cli.conftest import AGENT

pytestmark = pytest.mark.anyio
URL = "http://127.0.0.1:1/v1"
SEVERAL = "from agentkit import Agent\nfirst = Agent('a')\nother = Agent('b')\n"


@pytest.fixture(autouse=True)
def endpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", URL)


async def opened(text: str, **more: Any) -> Agent:
    async with Target(text, **more).opened() as agent:
        return agent


def put(name: str, source: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(source)


@pytest.mark.parametrize("text", ["weather.py", "weather.py:agent", "./weather.py", "weather:agent"])
async def test_a_target_is_a_variable_of_a_file_or_a_module(text: str) -> None:
    agent = await opened(text)
    assert sorted(agent.tools.names) == ["book_table", "get_weather"]
    assert await opened(text) is agent


async def test_a_module_may_stand_in_a_package_and_a_file_beside_others() -> None:
    put("shop/__init__.py", "")
    put("shop/agents.py", "from agentkit import Agent\nhelper = Agent('h')\n")
    put("beside/one.py", "from two import agent\n")
    put("beside/two.py", "from agentkit import Agent\nagent = Agent('two')\n")
    assert (await opened("shop.agents:helper")).plan.model.name == "h"
    assert (await opened("beside/one.py")).plan.model.name == "two"


@pytest.mark.parametrize("source", [
    "found = Agent('f')", "one = found = Agent('f')", "def agent(): return Agent('f')",
    "async def agent(): return Agent('f')",
    "@asynccontextmanager\nasync def agent():\n    yield Agent('f')\n    print('closed')",
    "agent = Agent('f')\nif __name__ == '__main__':\n    raise SystemExit",
])  # fmt: skip
async def test_the_usual_agent_is_found(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    imports = "from contextlib import asynccontextmanager\nfrom agentkit import Agent"
    put("usual.py", f"{imports}\nprint('loaded')\n{source}\n")
    assert (await opened("usual.py")).plan.model.name == "f"
    assert capsys.readouterr().err == "loaded\n"


@pytest.mark.parametrize(("text", "source", "said"), [
    ("a.py", None, "there is no file .*a.py$"), ("wether.py", None, r"no file .*wether.py; did you mean weather.py\?"),
    ("a.py", "import nothing_such", "a.py, line 1, cannot be imported: ModuleNotFoundError: .*--traceback"),
    ("a.py", "\nx = = 1", "a.py, line 2, cannot be imported: SyntaxError"),
    ("a.py", "raise SystemExit", "the file ends the program; put that under if __name__"),
    ("a.py", "from agentkit import Agent\nAgent('m', threads=0)", r"line 2, cannot be imported: Conf.*not 0$"),
    ("a.py", "x = 1", "no variable `agent`; the file has no agent; make one"),
    ("a.py", SEVERAL, "no variable `agent`; its agents are first, other; name one: a.py:first"),
    ("a.py:third", SEVERAL, "a.py:third: there is no third; its agents are first, other"),
    ("a.py:x", "x = 1", "a.py:x has a value of the type int, not an agent"),
    ("a.py:x", "def x(): return 1", "a.py:x has a value of the type int, not an agent"),
    ("a.py:x", "def x(y): return 1", "must be a function without arguments: missing a required argument: 'y'"),
    ("a:x", "import nothing_such", "a cannot be imported: ModuleNotFoundError"),
    ("a:x", "1 / 0", "a cannot be imported: ZeroDivisionError"),
    ("b:x", None, "there is no module b; .*: local --model b:x"),
    ("a.b:x", "", "there is no module a.b"), ("json.py", "", "rename json.py: "),
    ("a", "", "'a' is not a Python file; a target is a.py, a.py:agent"),
    ("", None, "'' is not a Python file; a target is agent.py"),
    ("weather.py/", None, "is not a Python file"),
    ("a.py", "from agentkit import Agent\nagent = Agent('m', deps_type=dict)", r"of type dict \(deps_type\)"),
])  # fmt: skip
async def test_what_is_no_target_is_told_with_the_way_out(text: str, source: str | None, said: str) -> None:
    if source is not None:
        put(text.partition(":")[0].partition(".")[0] + ".py", source)
    with pytest.raises(ConfigurationError, match=f"(?s){said}"):
        await opened(text)


@pytest.mark.parametrize(("source", "error"), [("1 / 0", ConfigurationError), ("raise KeyboardInterrupt", KeyboardInterrupt)])  # fmt: skip
async def test_a_file_that_failed_is_loaded_again(source: str, error: type[BaseException]) -> None:
    put("late.py", source)
    with pytest.raises(error):
        await opened("late.py")
    put("late.py", AGENT)
    assert len((await opened("late.py")).tools) == 2


@pytest.mark.parametrize("sets", ["", "import os\nos.environ['AGENTKIT_BASE_URL'] = 'http://own.example/v1'\n"])
async def test_a_model_that_is_not_asked_needs_no_endpoint(sets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENTKIT_BASE_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "")
    put("first.py", f"{sets}from agentkit import Agent\nagent = Agent('gemini-2.5-flash')\n")
    if not sets:
        with pytest.raises(ConfigurationError, match="no endpoint"):
            await opened("first.py")
        with pytest.raises(ConfigurationError, match="no endpoint"):
            await opened("first.py", model="gpt-5")
    assert (await opened("first.py", model="local")).plan.model.name.startswith("SmolLM2")
    assert os.environ.get("AGENTKIT_BASE_URL") == ("http://own.example/v1" if sets else None)
    async with Target("first.py").opened(asked=False) as agent:
        assert agent.plan.model.name == "gemini-2.5-flash"


async def test_a_file_that_asks_its_model_at_once_is_told_how_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENTKIT_BASE_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "")
    put("asks.py", f"raise RuntimeError({targets._NO_ENDPOINT!r})")
    put("wrong.py", "raise RuntimeError")
    with pytest.raises(ConfigurationError, match=r"asks.py, line 1: its model is asked .* under if __name__"):
        await opened("asks.py", model="local")
    with pytest.raises(ConfigurationError, match="RuntimeError"):
        await opened("wrong.py", model="local")


async def test_a_file_that_cannot_be_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "spec_from_file_location", print)
    with pytest.raises(ConfigurationError, match=r"weather\.py cannot be imported"):
        await opened("weather.py")


async def test_a_name_of_a_model_is_that_model_without_tools() -> None:
    agent = await opened("gpt-5")
    assert (agent.plan.model.name, len(agent.tools)) == ("gpt-5", 0)
    assert (await opened("gpt-5", base_url="http://127.0.0.1:2/v1")).plan.model.name == "gpt-5"
    assert (await opened("local")).plan.model.name.startswith("SmolLM2")
    with pytest.raises(ConfigurationError, match=r"no model file at 'no\.gguf'"):
        await opened("local:no.gguf")


async def test_a_provider_is_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    for text, name in (("openai:o3", "o3"), ("openai:gpt-5", "gpt-5")):
        model = (await opened(text)).plan.model
        assert isinstance(model, ChatClient)
        assert (model.name, model.base_url) == (name, "https://api.openai.com/v1")
    put("openai.py", "from agentkit import Agent\no3 = Agent('mine')\n")
    monkeypatch.setattr("sys.modules", {name: m for name, m in sys.modules.items() if name != "openai"})
    assert (await opened("openai:o3")).plan.model.name == "mine"


async def test_a_model_by_name_takes_a_system_prompt_settings_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_API_KEY", "")
    agent = await opened("groq:llama", api_key="sk-2", system="Be brief.", settings={"temperature": 0.5, "seed": 1})
    assert agent.plan.instructions == SystemMessage("Be brief.")
    assert (agent.plan.settings.temperature, agent.plan.settings.seed) == (0.5, 1)
    shown = agent.dry_run("Hello")
    assert shown.url.startswith("https://api.groq.com/")
    assert "authorization" in dict(shown.headers)
    assert "authorization" in dict((await opened("m", api_key="sk-3")).dry_run("Hello").headers)
    assert "sk-2" not in repr(Target("m", api_key="sk-2"))
    for more, named in (({"system": ""}, "--system: only"), ({"settings": {"max_tokens": 5}}, "--max-tokens: only")):
        with pytest.raises(ConfigurationError, match=named):
            await opened("weather.py", **more)


async def test_another_model_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await opened("weather.py", model="other")).plan.model.name == "other"
    assert (await opened("local", model="other")).plan.model.name == "other"
    elsewhere = (await opened("weather.py", base_url="http://127.0.0.1:2/v1")).plan.model
    assert isinstance(elsewhere, ChatClient)
    assert (elsewhere.name, elsewhere.base_url) == ("m", "http://127.0.0.1:2/v1")
    monkeypatch.delenv("AGENTKIT_BASE_URL")
    put("late.py", AGENT)
    assert (await opened("late.py", base_url="http://127.0.0.1:2/v1")).plan.model.name == "m"
    with pytest.raises(ConfigurationError, match="--base-url needs the name of a model there"):
        await opened("local", base_url="http://127.0.0.1:2/v1")


async def test_what_has_something_open_is_opened_later() -> None:
    held = "from contextlib import asynccontextmanager\n@asynccontextmanager\nasync def held():\n    yield agent\n"
    put("held.py", f"{AGENT}\n{held}")
    plain, opens = await load_agents([Target("held.py"), Target("held.py:held", "other")], [])
    assert isinstance(plain, Agent)
    assert not isinstance(opens, Agent)
    for _ in range(2):
        async with opens() as agent:
            assert (len(agent.tools), agent.plan.model.name) == (2, "other")


@pytest.mark.parametrize(
    ("text", "name"),
    [("a/b.py", "b"), ("b.py:agent", "b"), ("b.py:x", "x"), ("p.q:agent", "p.q"), ("p.q:x", "x"), ("gpt-5", "gpt-5")],
)
def test_a_target_has_a_short_name(text: str, name: str) -> None:
    assert Target(text).short == name
