"""The official client against the server on a real socket."""

import json
from collections.abc import Iterator
from typing import Any

import anyio
import openai
import pytest
from pydantic import BaseModel

from agentkit import Agent, ChatClient, Settings
from agentkit.core.chat import ChatRequest
from agentkit.core.errors import EndpointUnavailable, LimitReached, ModelTimeout, RateLimited
from agentkit.core.messages import AssistantMessage, ToolMessage, UserMessage
from agentkit.core.parts import ImagePart
from agentkit.server import Bounds, ChatServer
from agentkit.testing import chaos, status
from tests.scripted import Scripted, called, said
from tests.server.served import KEY, search, served

PARAMETERS = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}
ASK_USER = {"name": "ask_user", "description": "Ask the user.", "parameters": PARAMETERS}
THEIRS: Any = [{"type": "function", "function": ASK_USER}]
HELLO: Any = [{"role": "user", "content": "Hello"}]
ANSWER = "I look it up.\n\nfound x"


def play(request: ChatRequest) -> AssistantMessage:
    """Search; ask the user if that can be done and was not; answer with all that was found."""
    results = [message.content for message in request.messages if isinstance(message, ToolMessage)]
    if not results:
        return AssistantMessage("I look it up.", called(("search", {"query": "x"})).tool_calls)
    if len(results) == 1 and any(spec.name == "ask_user" for spec in request.tools):
        return called(("ask_user", {"question": "Sure?"}))
    return said(", ".join(results))


def obey(request: ChatRequest) -> AssistantMessage:
    """Call the first tool that is offered, each time in another way."""
    return called((request.tools[0].name, {"query": f"x{len(request.messages)}"}))


ERRORS: dict[str, Exception] = {
    "busy": RateLimited("no", status=429, retry_after=9),
    "down": EndpointUnavailable("no", status=503),
    "slow": ModelTimeout("no", 1),
    "endless": LimitReached("no", "steps", 3),
    "broken": RuntimeError("no"),
}


@pytest.fixture(scope="module")
def models() -> dict[str, Scripted]:
    answering = {"agent": Scripted(play), "echo": Scripted(said("Hi")), "eager": Scripted(obey)}
    return answering | {name: Scripted(error) for name, error in ERRORS.items()}


@pytest.fixture(scope="module")
def url(models: dict[str, Scripted]) -> Iterator[str]:
    agents = {name: Agent(model, tools=[search], settings=Settings(top_p=0.9)) for name, model in models.items()}
    with served(ChatServer(agents, keys=[KEY, "sk-second"], bounds=Bounds(body=100_000))) as address:
        yield f"{address}/v1"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as made:
        yield made


def test_the_models(client: openai.OpenAI) -> None:
    assert "agent" in [model.id for model in client.models.list()]
    assert client.models.retrieve("agent").owned_by == "agentkit"


def test_an_answer_plain_and_streamed(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="agent", messages=HELLO)
    (choice,) = reply.choices
    assert (choice.message.content, choice.finish_reason) == (ANSWER, "stop")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (20, 10, 30)
    assert reply.model == "agent"
    usage: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="agent", messages=HELLO, stream=True, stream_options=usage))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert (text, chunks[0].choices[0].delta.role) == (ANSWER, "assistant")
    assert (chunks[-2].choices[0].finish_reason, chunks[-1].choices) == ("stop", [])
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 30


def test_tools_of_the_clients_there_and_back(client: openai.OpenAI, models: dict[str, Scripted]) -> None:
    reply = client.chat.completions.create(model="agent", messages=HELLO, tools=THEIRS).choices[0]
    assert (reply.finish_reason, reply.message.content) == ("tool_calls", "I look it up.")
    calls: Any = reply.message.tool_calls
    (call,) = calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("ask_user", '{"question": "Sure?"}')
    history: Any = [*HELLO, reply.message, {"role": "tool", "tool_call_id": call.id, "content": "yes"}]
    more = client.chat.completions.create(model="agent", messages=history, tools=THEIRS).choices[0]
    assert more.message.content == "found x, yes"
    searching = AssistantMessage("I look it up.", called(("search", {"query": "x"})).tool_calls)
    assert models["agent"].requests[-1].messages[1] == searching
    with client.chat.completions.stream(model="agent", messages=HELLO, tools=THEIRS) as stream:
        streamed: Any = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed[0].function.arguments == call.function.arguments


def test_several_answers(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="agent", messages=HELLO, n=3)
    assert [(choice.index, choice.message.content) for choice in reply.choices] == [(at, ANSWER) for at in range(3)]
    assert reply.usage is not None
    assert reply.usage.total_tokens == 90
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(model="agent", messages=HELLO, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [ANSWER] * 3


def test_every_setting_reaches_the_model(client: openai.OpenAI, models: dict[str, Scripted]) -> None:
    client.chat.completions.create(
        model="echo", messages=HELLO, temperature=0.3, max_completion_tokens=50, stop=["."], presence_penalty=1, frequency_penalty=-1, user="u",
        seed=3, tool_choice="auto", parallel_tool_calls=False, tools=THEIRS, response_format={"type": "text"},
    )  # fmt: skip
    settings = models["echo"].requests[-1].settings
    assert settings == Settings(
        temperature=0.3, top_p=0.9, max_tokens=50, stop=["."], presence_penalty=1, frequency_penalty=-1, user="u",
        seed=3,
    )  # fmt: skip


def test_images(client: openai.OpenAI, models: dict[str, Scripted]) -> None:
    image = "data:image/png;base64,AAAA"
    blocks: Any = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": image}}]
    client.chat.completions.create(model="echo", messages=[{"role": "user", "content": blocks}])
    (message,) = models["echo"].requests[-1].messages
    assert isinstance(message, UserMessage)
    assert message.content[1] == ImagePart(image)


@pytest.mark.parametrize(("asked", "kind", "status", "code"), [
    ({"temperature": 3}, openai.BadRequestError, 400, None), ({"model": "nobody"}, openai.NotFoundError, 404, "model_not_found"),
    ({"messages": [{"role": "user", "content": "x" * 100_000}]}, openai.APIStatusError, 413, "request_too_large"),
    ({"extra_headers": {"content-type": "text/plain"}}, openai.APIStatusError, 415, None),
    ({"model": "busy"}, openai.RateLimitError, 429, "upstream_busy"), ({"model": "broken"}, openai.InternalServerError, 500, "internal_error"),
    ({"model": "endless"}, openai.InternalServerError, 500, "limit_reached"), ({"model": "down"}, openai.InternalServerError, 502, "upstream_error"),
    ({"model": "slow"}, openai.InternalServerError, 504, "upstream_timeout"),
])  # fmt: skip
def test_every_kind_of_error(client: Any, asked: dict[str, Any], kind: Any, status: int, code: str) -> None:
    for stream in (False, True):
        with pytest.raises(kind) as caught:
            client.chat.completions.create(**{"model": "agent", "messages": HELLO, "stream": stream, **asked})
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert caught.value.type


class Trip(BaseModel):
    city: str
    days: int


class Other(BaseModel):
    city: str
    country: str


def trip(request: ChatRequest) -> AssistantMessage:
    """Give the wanted answer, as arguments or as text."""
    answer = {"city": "Rome", "days": 2}
    if not request.tools:
        return said(json.dumps(answer))
    properties: Any = request.tools[-1].parameters["properties"]
    wrapped = "answer" in properties
    return called((request.tools[-1].name, {"answer": answer} if wrapped else answer))


@pytest.fixture(scope="module")
def forms() -> Iterator[openai.OpenAI]:
    agents: dict[str, Agent[Any, Any]] = {"plain": Agent(Scripted(trip)), "typed": Agent(Scripted(trip), output=Trip)}
    with (
        served(ChatServer(agents)) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="-", max_retries=0) as made,
    ):
        yield made


@pytest.mark.parametrize("model", ["plain", "typed"])
def test_structured_output_as_the_client_asks_for_it(forms: openai.OpenAI, model: str) -> None:
    parsed = forms.chat.completions.parse(model=model, messages=HELLO, response_format=Trip).choices[0].message
    assert parsed.parsed == Trip(city="Rome", days=2)
    with forms.chat.completions.stream(model=model, messages=HELLO, response_format=Trip) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Trip(city="Rome", days=2)
    reply = forms.chat.completions.create(model=model, messages=HELLO, response_format={"type": "json_object"})
    assert json.loads(reply.choices[0].message.content or "") == {"city": "Rome", "days": 2}


def test_a_type_that_a_typed_agent_does_not_give_is_refused(forms: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        forms.chat.completions.parse(model="typed", messages=HELLO, response_format=Other)
    assert caught.value.param == "response_format.json_schema.schema.properties.country"


@pytest.mark.parametrize(("upstream", "kind", "requests"), [
    (400, openai.BadRequestError, 1), (422, openai.BadRequestError, 1), (401, openai.InternalServerError, 1),
    (404, openai.InternalServerError, 1), (503, openai.InternalServerError, 3),
])  # fmt: skip
def test_the_client_repeats_only_what_may_help(upstream: int, kind: type[openai.APIStatusError], requests: int) -> None:
    with chaos(status(upstream, body={"error": {"message": "no"}})) as endpoint:
        agent = Agent(ChatClient("m", base_url=endpoint.url, api_key="", retries=0))
        with (
            served(ChatServer(agent)) as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=2) as client,
        ):
            with pytest.raises(kind) as caught:
                client.chat.completions.create(model="agent", messages=HELLO)
            assert client.models.with_raw_response.list().headers["x-request-id"]
        assert len(endpoint.requests) == requests
    assert caught.value.request_id
    assert f"(incident {caught.value.request_id})" in caught.value.message


def test_a_client_that_requires_its_tools_at_each_step_gets_one(
    client: openai.OpenAI, models: dict[str, Scripted]
) -> None:
    before = len(models["eager"].requests)
    reply = client.chat.completions.create(model="eager", messages=HELLO, tools=THEIRS, tool_choice="required").choices[
        0
    ]
    assert reply.finish_reason == "tool_calls"
    assert len(models["eager"].requests) - before == 11


def test_the_async_client(url: str) -> None:
    answers: list[str] = []

    async def use() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="sk-second") as client:

            async def streamed() -> None:
                stream = await client.chat.completions.create(model="agent", messages=HELLO, stream=True)
                answers.append("".join([chunk.choices[0].delta.content or "" async for chunk in stream]))

            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(streamed)

    anyio.run(use)
    assert answers == [ANSWER] * 10
