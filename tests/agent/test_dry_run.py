"""What an agent would send, and what it has sent, as people see it."""

import shlex
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    AssistantMessage,
    ChatClient,
    ConfigurationError,
    Fallback,
    ImagePart,
    InvalidRequest,
    Limits,
    ModelError,
    Prompted,
    Settings,
    State,
    StepStarted,
    TextToolCalls,
    ToolCall,
    ToolMessage,
    ToolStarted,
    Trimmed,
    UserMessage,
    tool,
)
from agentkit.core.model import Model
from agentkit.testing import Raw, answer, chaos
from agentkit.tool_choice import auto, first, force
from tests.clients import KEY
from tests.scripted import Scripted, said

pytestmark = pytest.mark.anyio

Wrap: TypeAlias = Callable[[ChatClient], Model]


def at_first(state: State) -> Literal["required", "auto"]:
    return "required" if state.step == 0 else "auto"


@tool(strict=True)
def search(query: str, most: int = 5) -> str:
    """Search the documents."""
    return f"{most} of {query}"


@tool(ends=True)
def stop() -> str:
    """Stop."""
    return "stopped"


class City(BaseModel):
    name: str


CALLS = (ToolCall("c0", "search", '{"query": "a", "most": 1}'), ToolCall("c1", "search", '{"query": "b", "most": 1}'))
ASKED = (UserMessage("Find a and b."), AssistantMessage(tool_calls=CALLS))
FOUND = (*ASKED, ToolMessage("c0", "1 of a"), ToolMessage("c1", "1 of b"))
LONG = (*[each for at in range(40) for each in (UserMessage(f"{at} {'x' * 400}"), AssistantMessage("y" * 400))],)
SHORT = ToolMessage("c0", "1 … a", full="1 of a")

MODELS: dict[str, Wrap] = {
    "plain": lambda client: client,
    "prompted": Prompted,
    "prompted, decides first": lambda client: Prompted(client, decide_first=True),
    "text calls": TextToolCalls,
    "fallback": lambda client: Fallback(client, Scripted(said("x"))),
    "trimmed": lambda client: Trimmed(client, tokens=2000),
    "trimmed, prompted": lambda client: Trimmed(Prompted(client), tokens=2000),
}
PROMPTS: dict[str, Any] = {
    "text": "What is new? ☂ \ud800",
    "history": [*FOUND, UserMessage("And c?")],
    "after calls": FOUND,
    "dicts": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "to be mended": [UserMessage("go"), ToolMessage("c9", "lost"), *ASKED, FOUND[3], FOUND[2], UserMessage("And c?")],
    "images": [*FOUND[:3], ToolMessage("c1", "shown", images=(ImagePart("data:image/png;base64,AA=="),))],
    "shortened": [*ASKED, SHORT, FOUND[3]],
    "long": [*LONG, UserMessage("And now?")],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "instructions": {"instructions": "Be brief.", "settings": Settings(temperature=0.5, extra={"seed": 7})},
    "force": {"tool_choice": first(force(search), then=auto)},
    "required": {"tool_choice": at_first},
    "no tools left": {"tool_choice": "none"},
    "typed": {"output": City},
    "typed, as text": {"output": City, "output_mode": "format"},
    "continued": {"on_truncated": "continue", "limits": Limits(result=1000)},
    "several": {"settings": Settings(n=2)},
}


def agent_at(url: str, wrap: Wrap = MODELS["plain"], **options: Any) -> Agent[Any, Any]:
    client = ChatClient("m", base_url=url, api_key=KEY, headers={"x-team": KEY[::-1]}, retries=0)
    tools: list[Callable[..., object]] = [search] if "output" in options else [search, stop]
    return Agent(wrap(client), tools=tools, **options)


async def sent(agent: Agent[Any, Any], prompt: Any, *, streamed: bool) -> None:
    """Run until the first request is answered, with something that no run goes on from."""
    try:
        if streamed:
            async with agent.stream(prompt) as run:
                _ = [event async for event in run]
        else:
            await agent.run(prompt)
    except ModelError:
        pass


async def same(wrap: Wrap, prompt: Any, options: dict[str, Any], *, streamed: bool) -> None:
    with chaos(Raw([b"no"], 400)) as endpoint:
        agent = agent_at(f"{endpoint.url}?code={KEY}", wrap, **options)
        shown = agent.dry_run(prompt, streamed=streamed)
        assert endpoint.requests == []
        await sent(agent, prompt, streamed=streamed)
        assert shown.body == endpoint.bodies[0]
        assert shown.data == endpoint.requests[0]
        assert shown.url == f"{endpoint.url}/chat/completions?code=…"
        headers = endpoint.headers[0]
        assert {name: value for name, value in shown.headers if "…" not in value}.items() <= headers.items()
        assert {name for name, value in shown.headers if "…" in value} == {"authorization", "x-team"}
        # An agent says the same again, whatever was run in between.
        assert agent.dry_run(prompt, streamed=streamed) == shown
    for each in (str(shown), repr(shown), shown.curl(), repr(shown.headers)):
        assert KEY not in each
        assert KEY[::-1] not in each


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("model", ["plain", "trimmed, prompted"])
async def test_a_dry_run_shows_what_a_run_sends(model: str, prompt: str, *, streamed: bool) -> None:
    await same(MODELS[model], PROMPTS[prompt], {}, streamed=streamed)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("model", MODELS)
async def test_a_dry_run_shows_it_whatever_the_agent_is_made_of(model: str, options: str, *, streamed: bool) -> None:
    await same(MODELS[model], PROMPTS["after calls"], OPTIONS[options], streamed=streamed)


def test_the_choice_of_the_first_step_shows() -> None:
    agent = agent_at("http://127.0.0.1:1/v1", tool_choice=first(force(search), then=auto))
    shown = agent.dry_run("go").data
    assert shown["tool_choice"] == {"type": "function", "function": {"name": "search"}}
    assert "stream" not in shown
    assert agent.dry_run("go", streamed=True).data["stream"] is True
    assert agent.dry_run(FOUND).data["tool_choice"] == "auto"


NOT_FIRST = "ends in calls or in an answer, so a run would not begin with a request"


@pytest.mark.parametrize("prompt", [ASKED, FOUND[:3]])
async def test_a_run_that_begins_with_calls(prompt: Any) -> None:
    with chaos(answer("x")) as endpoint:
        agent = agent_at(endpoint.url)
        with pytest.raises(InvalidRequest, match=NOT_FIRST):
            agent.dry_run(prompt)
        async with agent.stream(prompt) as run:
            kinds = [type(event) async for event in run]
    assert kinds.index(ToolStarted) < kinds.index(StepStarted)


@pytest.mark.parametrize(
    "prompt",
    [
        [UserMessage("go"), AssistantMessage("Gone.")],
        [UserMessage("go"), AssistantMessage(tool_calls=(ToolCall("c0", "stop", "{}"),)), ToolMessage("c0", "stopped")],
    ],
)
async def test_a_run_that_is_at_its_end(prompt: Any) -> None:
    with chaos(answer("x")) as endpoint:
        agent = agent_at(endpoint.url)
        with pytest.raises(InvalidRequest, match=NOT_FIRST):
            agent.dry_run(prompt)
        assert (await agent.run(prompt)).steps == ()
        assert endpoint.requests == []


def test_what_nothing_could_be_sent_for() -> None:
    agent = agent_at("http://127.0.0.1:1/v1")
    with pytest.raises(InvalidRequest, match="a run needs at least one message"):
        agent.dry_run([])
    with pytest.raises(InvalidRequest):
        agent.dry_run([{"role": "user"}])


SILENT = Scripted(said("x"))


@pytest.mark.parametrize("model", [SILENT, Prompted(SILENT), Fallback(SILENT, ChatClient("m", base_url="http://a/v1"))])
def test_a_model_that_does_not_show_what_it_sends(model: Model) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Agent(model).dry_run("go")
    assert str(caught.value) == (
        "scripted does not show what it sends: its class Scripted has no method sends(request, *, streamed=False)"
    )


# ------------------------------------------------------------------------------------------------------ what was sent


@pytest.mark.parametrize("model", [name for name in MODELS if name != "prompted, decides first"])
async def test_a_step_gives_the_command_that_asks_again(model: str) -> None:
    with chaos(answer("Hi."), answer('{"action": "chat", "answer": "Hi."}')) as endpoint:
        agent = agent_at(endpoint.url, MODELS[model])
        result = await agent.run("go")
        command = result.steps[0].curl()
        assert command == agent.dry_run("go").curl()
        words = shlex.split(command)
        assert words[words.index("--data-raw") + 1].encode() == endpoint.bodies[0]
    assert KEY not in command
    assert "authorization: Bearer $AGENTKIT_API_KEY" in command


async def test_of_two_requests_the_last_is_shown() -> None:
    with chaos(answer('{"action": "chat"}'), answer('{"action": "chat", "answer": "Hi."}')) as endpoint:
        result = await agent_at(endpoint.url, MODELS["prompted, decides first"]).run("go")
        words = shlex.split(result.steps[0].curl())
        assert words[words.index("--data-raw") + 1].encode() == endpoint.bodies[1]


async def test_an_error_has_what_was_sent() -> None:
    with chaos(Raw([b"no"], 400)) as endpoint:
        agent = agent_at(endpoint.url)
        with pytest.raises(ModelError) as caught:
            await agent.run("go")
        assert caught.value.sent == agent.dry_run("go")


async def test_a_reply_that_did_not_come_over_http() -> None:
    result = await Agent(Scripted(said("Hi."))).run("go")
    with pytest.raises(InvalidRequest, match="this reply did not come over HTTP"):
        result.steps[0].curl()
