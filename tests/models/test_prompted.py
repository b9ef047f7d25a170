import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from agentkit import Agent, Message, Model, Prompted, TextDelta, TextToolCalls, Toolbox, ToolChoice
from agentkit.core.chat import ChatChunk, ChatRequest, ChatResponse, Choice, Settings, ToolSpec
from agentkit.core.errors import ConnectionFailed
from agentkit.core.messages import AssistantMessage, SystemMessage, ToolCall, ToolMessage, Usage, UserMessage
from agentkit.core.model import OnChunk
from agentkit.core.parts import TextPart
from agentkit.models.prompted import _AnswerStream
from agentkit.runs.finish import cut_call
from agentkit.tool_choice import first, force, from_results
from tests.clients import ASYNCIO
from tests.scripted import Scripted, said

pytestmark = [pytest.mark.anyio, ASYNCIO]


@dataclass
class Place:
    city: str
    country: str | None = None


def get_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> float:
    """Look up the weather.

    Args:
        city: City name.
        unit: Temperature unit.
    """
    return 18.0


def travel(to: Place, days: int | None = None, by: list[str] | None = None, how: Any = None) -> str:
    """Plan a trip."""
    return f"to {to.city}"


BOX = Toolbox([get_weather, travel])
CALL = said('{"action": "get_weather", "arguments": {"city": "Paris"}}')
ANSWER = said('{"action": "chat", "answer": "It is 18 degrees."}')
QUESTION = (UserMessage("Weather in Paris?"),)
AUTO = ToolChoice()


async def ask(
    model: Any, choice: ToolChoice = AUTO, messages: Sequence[Message] = QUESTION, **options: Any
) -> ChatResponse:
    return await Prompted(model, **options).complete(ChatRequest(tuple(messages), BOX.specs, choice))


def sent(request: ChatRequest) -> list[dict[str, object]]:
    return [message.to_dict() for message in request.messages]


def schema_of(request: ChatRequest) -> Any:
    response_format: Any = request.response_format
    return response_format["json_schema"]["schema"]


def branches(request: ChatRequest) -> list[object]:
    schema = schema_of(request)
    return [branch["properties"]["action"]["const"] for branch in schema.get("anyOf", [schema])]


class Piecemeal:
    """Streams a text in pieces; it does not say what it cost."""

    name = "piecemeal"

    def __init__(self, words: str, size: int = 1000, finish_reason: str = "stop") -> None:
        self.words, self.size, self.finish_reason = words, size, finish_reason

    async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
        if on_chunk is not None:
            for at in range(0, len(self.words), self.size):
                on_chunk(ChatChunk({"choices": [{"delta": {"content": self.words[at : at + self.size]}}]}))
        return ChatResponse((Choice(said(self.words), self.finish_reason),))


SYSTEM = """Reply in JSON with one of these actions:
- chat(answer): Talk with the user, such as greetings, thanks and small talk, or give the final answer.
- get_weather(city: string, unit: "celsius" or "fahrenheit" (optional)): Look up the weather.
  city: City name.
  unit: Temperature unit.
- travel(to: {city: string, country: string or null}, days: integer or null (optional), by: list of string or null (optional), how: any (optional)): Plan a trip."""


@pytest.mark.parametrize(("choice", "allowed"), [
    (ToolChoice("auto"), ["chat", "get_weather", "travel"]),
    (ToolChoice("none"), ["chat"]),
    (ToolChoice("required"), ["get_weather", "travel"]),
    (ToolChoice("tool", "travel"), ["travel"]),
])  # fmt: skip
async def test_a_choice_is_a_schema(choice: ToolChoice, allowed: list[str]) -> None:
    model = Scripted(CALL)
    await ask(model, choice)
    assert branches(model.requests[0]) == allowed
    assert sent(model.requests[0]) == [SystemMessage(SYSTEM).to_dict(), QUESTION[0].to_dict()]
    assert model.requests[0].tools == ()


async def test_a_call_and_an_answer_are_read_back() -> None:
    chunks: list[ChatChunk] = []
    model = Prompted(Piecemeal(CALL.content or "", 4))
    reply = await model.complete(ChatRequest(QUESTION, BOX.specs), chunks.append)
    assert reply.message == AssistantMessage(tool_calls=(ToolCall("call_0_0", "get_weather", '{"city":"Paris"}'),))
    assert (reply.finish_reason, chunks) == ("tool_calls", [])
    for words, content in ((ANSWER.content, "It is 18 degrees."), ("No JSON.", "No JSON."), ('{"x":1}', '{"x":1}')):
        assert (await ask(Scripted(said(words or "")))).message == AssistantMessage(content)
    assert repr(Prompted(Scripted(CALL), small=True)).endswith("small=True)")


async def test_a_call_that_is_cut_at_the_length_limit_is_marked_as_such() -> None:
    for words in ('{"action": "get_weather", "arguments": {"city": "Par', '{"action": "get_weather", "argu'):
        reply = await ask(Piecemeal(words, finish_reason="length"))
        assert cut_call(reply.message, reply.finish_reason) == "get_weather"
    reply = await ask(Piecemeal(CALL.content or "", finish_reason="length"))
    assert [(call.name, call.arguments) for call in reply.message.tool_calls] == [("get_weather", '{"city":"Paris"}')]
    assert cut_call(reply.message, reply.finish_reason) is None
    chat = '{"action": "chat", "answer": "It is'
    for words, content in ((chat, "It is"), ("It is not", "It is not"), ('{"a', ""), ('{"action": "cha', "")):
        reply = await ask(Piecemeal(words, finish_reason="length"))
        assert (reply.message.content, reply.finish_reason) == (content, "length")


ENVELOPE = '{"action": "chat", "answer": "Hello! It is 18 degrees."}'


async def streamed(model: Model, **settings: Any) -> tuple[Choice, str]:
    chunks: list[ChatChunk] = []
    request = ChatRequest(QUESTION, BOX.specs, settings=Settings(**settings))
    reply = await Prompted(model).complete(request, chunks.append)
    return reply.choices[0], "".join(chunk.text for chunk in chunks)


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_an_answer_ends_at_a_stop_and_not_within_the_json_around_it(size: int) -> None:
    answer = "Hello! It is 18 degrees."
    texts = {answer[begin:end] for end in range(len(answer) + 1) for begin in range(end)}
    for stop in [*texts, "{", "\n", '"action"', "degrees. And", ["18", "It"], ["", "zz"]]:
        choice, deltas = await streamed(Piecemeal(ENVELOPE, size), stop=stop)
        ends = [answer.find(text) for text in ([stop] if isinstance(stop, str) else stop) if text and text in answer]
        assert choice == Choice(AssistantMessage(answer[: min(ends, default=None)]), "stop")
        assert deltas == choice.message.content


@pytest.mark.parametrize("finish_reason", ["length", "stop", "content_filter"])
@pytest.mark.parametrize("fence", ["", "```json\n", "```\n"])
async def test_a_reply_that_is_cut_anywhere_shows_nothing_of_the_json_around_the_answer(
    finish_reason: str, fence: str
) -> None:
    for end in range(1, len(ENVELOPE)):
        choice, deltas = await streamed(Piecemeal(fence + ENVELOPE[:end], 1, finish_reason), stop="x")
        assert choice.message == AssistantMessage("Hello! It is 18 degrees."[: max(0, end - 30)])
        assert (choice.finish_reason, deltas) == (
            "length" if finish_reason == "stop" else finish_reason,
            choice.message.content,
        )


async def test_json_in_a_code_fence_is_read_as_without() -> None:
    choice, deltas = await streamed(Piecemeal(f"```json\n{ENVELOPE}\n```", 2))
    assert choice.message.content == deltas == "Hello! It is 18 degrees."
    for words in ("`", "```", "```json", " ```json "):
        assert (await streamed(Piecemeal(words, 1, "length")))[0] == Choice(AssistantMessage(""), "length")
    for words in ("```python\nx\n```", "```js", "It is `18`"):
        assert (await streamed(Piecemeal(words, 1, "length")))[0].message.content == words


async def test_of_an_endpoint_that_ignored_the_schema_the_text_ends_at_a_stop() -> None:
    assert (await streamed(Piecemeal("It is 18 degrees."), stop=" 18"))[0] == Choice(AssistantMessage("It is"), "stop")


async def test_a_decision_is_for_one_word_and_not_limited() -> None:
    model = Scripted(said('{"action": "get_weather"}'), CALL)
    settings = Settings(stop=["{"], max_tokens=5, n=2, temperature=0)
    await Prompted(model, small=True).complete(ChatRequest(QUESTION, BOX.specs, settings=settings))
    decision, action = [request.settings for request in model.requests]
    assert decision == Settings(temperature=0)
    assert action == Settings(max_tokens=5, n=2, temperature=0)


@pytest.mark.parametrize(("words", "text"), [
    (ENVELOPE[:38], "Hello! I"), (ENVELOPE[:20], ""), ('{"action": "get_weather", "argum', ""), ("Some", "Some"),
])  # fmt: skip
async def test_a_connection_that_breaks_leaves_the_answer_so_far(words: str, text: str) -> None:
    class Breaking(Piecemeal):
        async def complete(self, request: ChatRequest, on_chunk: OnChunk | None = None) -> ChatResponse:
            await super().complete(request, on_chunk)
            error = ConnectionFailed("gone")
            error.text = self.words
            raise error

    chunks: list[ChatChunk] = []
    request = ChatRequest(QUESTION, BOX.specs, settings=Settings(stop=["It"]))
    for small in (False, True):
        with pytest.raises(ConnectionFailed) as raised:
            await Prompted(Breaking(words), small=small).complete(request, chunks.append)
        assert raised.value.text == text
    assert "".join(chunk.text for chunk in chunks) == (text if words.startswith("{") else "")


HISTORY: list[Message] = [
    SystemMessage("Be brief."),
    UserMessage((TextPart("Weather"), TextPart("in Paris?"))),
    AssistantMessage("Which?"),
    UserMessage("Paris, France."),
    AssistantMessage(tool_calls=(ToolCall("c0", "get_weather", '{"city":"Paris"}'),)),
]


async def test_a_history_is_told_without_tools() -> None:
    model = Scripted(ANSWER)
    await ask(model, ToolChoice("none"), [*HISTORY, ToolMessage("c0", "18.0")])
    system, *rest = sent(model.requests[0])
    assert str(system["content"]).startswith("Be brief.\n\nReply in JSON")
    assert [message["content"] for message in rest][1:] == [
        '{"action": "chat", "answer": "Which?"}',
        "Paris, France.",
        '{"action": "get_weather", "arguments": {"city":"Paris"}}',
        "Result of get_weather: 18.0",
    ]


async def test_after_a_result_the_question_is_repeated_and_after_a_failure_it_is_not() -> None:
    model = Scripted(ANSWER)
    await ask(model, ToolChoice(), [*HISTORY, ToolMessage("c0", "18.0")])
    await ask(model, ToolChoice(), [*HISTORY, ToolMessage("c0", "no such city", "error")])
    repeated = 'If this is enough, reply with {"action": "chat", "answer": …} to the question: Paris, France.'
    contents = [sent(request)[-1]["content"] for request in model.requests]
    assert contents == [f"Result of get_weather: 18.0\n{repeated}", "Failure of get_weather: no such city"]


async def test_deciding_first_takes_a_short_request_more() -> None:
    model = Scripted(said('{"action": "get_weather"}'), CALL)
    reply = await ask(model, small=True)
    assert [call.name for call in reply.message.tool_calls] == ["get_weather"]
    assert branches(model.requests[1]) == ["get_weather"]
    assert reply.usage == Usage(2, 20, 10)
    names = ["chat", "get_weather", "travel"]
    assert schema_of(model.requests[0])["properties"] == {"action": {"enum": names, "type": "string"}}
    assert (await ask(Piecemeal(CALL.content or ""), small=True)).usage == Usage(2)
    # A forced tool needs no decision.
    await ask(model := Scripted(CALL), ToolChoice("required"), small=True)
    assert len(model.requests) == 1


async def test_what_the_decision_has_cost_counts_if_the_next_request_fails() -> None:
    with pytest.raises(ConnectionFailed) as raised:
        await ask(Scripted(said('{"action": "get_weather"}'), ConnectionFailed("gone")), small=True)
    assert raised.value.usage == Usage(1, 10, 5)


async def test_a_small_model_decides_to_call_and_the_words_of_the_question_what() -> None:
    model = Scripted(said('{"action": "travel"}'), CALL)
    await ask(model, small=True)
    assert branches(model.requests[1]) == ["get_weather"]  # no word of the other tool is in the question
    assert "travel" not in str(sent(model.requests[1])[0]["content"])


async def test_a_question_about_a_tool_needs_no_decision() -> None:
    model = Scripted(CALL)
    messages = [UserMessage("Look up the weather in Paris")]
    reply = await ask(model, messages=messages, small=True)
    assert [call.name for call in reply.message.tool_calls] == ["get_weather"]
    assert branches(model.requests[0]) == ["get_weather"]


async def test_where_a_call_is_certain_an_example_is_shown() -> None:
    model = Scripted(said('{"action": "get_weather"}'), CALL)
    await ask(model, small=True)
    decision, call = map(sent, model.requests)
    assert [message["role"] for message in call] == ["system", "user", "assistant", "user"]
    assert call[3] == decision[1]
    assert json.loads(str(call[2]["content"]))["action"] == "convert"


async def test_values_are_copied_from_the_conversation() -> None:
    guessed = {"to": {"city": "Paris"}, "days": 3, "by": ["boat"], "how": None}
    model = Scripted(said(json.dumps({"action": "travel", "arguments": guessed})))
    messages = [*HISTORY[:-1], UserMessage("Go to Paris for 2 or 3 days.")]
    reply = await ask(model, ToolChoice("tool", "travel"), messages, small=True)
    assert json.loads(reply.message.tool_calls[0].arguments) == {"to": {"city": "Paris"}, "days": 3}
    schema = schema_of(model.requests[0])
    assert re.fullmatch(schema["$defs"]["Place"]["properties"]["city"]["pattern"], "Paris")
    # Of what is no whole call, nothing is taken away.
    assert (await ask(Scripted(ANSWER), small=True)).message.content == "It is 18 degrees."
    cut = await ask(Piecemeal('{"action": "travel", "arguments": {"to"', finish_reason="length"), small=True)
    assert cut_call(cut.message, cut.finish_reason) == "travel"


async def test_a_text_that_a_call_has_twice_is_asked_for_once_more() -> None:
    def rank(team: str, league: str) -> str:
        """Look up a rank."""
        return f"{team} in {league}"

    def call(league: str) -> AssistantMessage:
        return said(json.dumps({"action": "rank", "arguments": {"team": "Old Town", "league": league}}))

    model = Scripted(call("Old Town"), call("Premier League"))
    request = ChatRequest(
        (UserMessage("How good is Old Town in Premier League?"),), Toolbox([rank]).specs, ToolChoice("required")
    )
    reply = await Prompted(model, small=True).complete(request)
    assert json.loads(reply.message.tool_calls[0].arguments)["league"] == "Premier League"
    assert reply.usage == Usage(2, 20, 10)
    assert schema_of(model.requests[1])["properties"]["arguments"]["properties"]["team"] == {"const": "Old Town"}
    # The first call is better than none.
    cut = ChatResponse((Choice(said('{"action": "rank", "argu'), "length"),), Usage(1, 1, 1))
    for second, usage in ((ConnectionFailed("gone"), Usage(1, 10, 5)), (cut, Usage(2, 11, 6))):
        reply = await Prompted(Scripted(call("Old Town"), second), small=True).complete(request)
        assert json.loads(reply.message.tool_calls[0].arguments)["league"] == "Old Town"
        assert reply.usage == usage
    # There is no third try, whatever the endpoint makes of the schema.
    model = Scripted(*[call("Old Town")] * 2)
    reply = await Prompted(model, small=True).complete(request)
    assert json.loads(reply.message.tool_calls[0].arguments)["league"] == "Old Town"
    assert len(model.requests) == 2


async def test_a_typed_answer_is_not_copied() -> None:
    model = Scripted(said('{"action": "final_answer", "arguments": {"city": "Rome", "country": "Italy"}}'))
    result = await Agent(Prompted(model, small=True), output=Place).run("Which city has the Colosseum?")
    assert result.output == Place("Rome", "Italy")
    assert "pattern" not in json.dumps(schema_of(model.requests[0]))


async def test_deciding_to_answer() -> None:
    model = Scripted(said('{"action": "chat"}'), ANSWER)
    reply = await ask(model, ToolChoice(), [*HISTORY, ToolMessage("c0", "18.0")], small=True)
    assert reply.message.content == "It is 18 degrees."
    assert branches(model.requests[1]) == ["chat"]
    assert "You have the result. Reply" in str(sent(model.requests[0])[-1]["content"])
    assert sent(model.requests[1])[-1]["content"] == "Result of get_weather: 18.0"


async def test_a_long_call_is_not_kept_by_the_stream() -> None:
    stream = _AnswerStream("chat", lambda _: None)
    for _ in range(100):
        stream(ChatChunk({"choices": [{"delta": {"content": "{" * 100}}]}))
    assert len(stream._pending) < 1000


@pytest.mark.parametrize("words", ["hm", '{"action": "nonsense"}', "{}"])
async def test_a_decision_that_cannot_be_read_leaves_the_choice(words: str) -> None:
    model = Scripted(said(words), CALL)
    await ask(model, small=True)
    assert branches(model.requests[1]) == ["chat", "get_weather"]


async def test_a_tool_may_have_any_name() -> None:
    def chat(words: str) -> str:
        """Say something."""
        return words

    call = said('{"action": "chat", "arguments": {"words": "hi"}}')
    model = Scripted(call, call, said('{"action": "chat_", "answer": "done"}'))
    result = await Agent(Prompted(model), tools=[chat]).run("go")
    assert result.output == "done"
    calls = [call for step in result.steps for call in step.message.tool_calls]
    assert [(call.id, call.name) for call in calls] == [("call_0_0", "chat"), ("call_1_0", "chat")]


async def test_without_tools_the_request_goes_through() -> None:
    model = Scripted(said("Hello."))
    request = ChatRequest(QUESTION, settings=Settings(n=1), response_format={"type": "text"})
    await Prompted(model).complete(request)
    assert model.requests == [request]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("answer", ["x", 'He said "hi"\n\t\\ \u00e9 日本 a/b \U0001f600'])
@pytest.mark.parametrize("ascii_only", [True, False])
async def test_the_answer_is_streamed_while_it_is_written(answer: str, size: int, ascii_only: bool) -> None:
    words = json.dumps({"action": "chat", "answer": answer}, ensure_ascii=ascii_only)
    async with Agent(Prompted(Piecemeal(words, size)), tools=[get_weather]).stream("go") as run:
        deltas = [event.text async for event in run if isinstance(event, TextDelta)]
    assert "".join(deltas) == answer == run.result.output
    assert size >= len(answer) or len(deltas) > 1


@pytest.mark.parametrize("wrap", [Prompted, TextToolCalls])
async def test_an_emoji_that_is_split_over_two_chunks_is_whole(wrap: Callable[[Model], Model]) -> None:
    words = '{"action": "chat", "answer": "a \ud83d\ude00"}' if wrap is Prompted else "a \ud83d\ude00"
    async with Agent(wrap(Piecemeal(words, 1)), tools=[get_weather]).stream("go") as run:
        deltas = [event.text async for event in run if isinstance(event, TextDelta)]
    assert "".join(deltas) == "a \U0001f600"


async def test_definitions_of_one_name_are_those_of_each_tool() -> None:
    def elsewhere() -> object:
        @dataclass
        class Place:
            street: str

        def send(at: Place) -> str:
            return at.street

        send.__annotations__["at"] = Place
        return send

    model = Scripted(said('{"action": "send", "arguments": {"at": {"street": "Main St"}}}'), ANSWER)
    tools: Any = [travel, elsewhere()]
    result = await Agent(Prompted(model), tools=tools).run("go")
    assert isinstance(result.messages[2], ToolMessage)
    assert result.messages[2].content == "Main St"
    schema = schema_of(model.requests[0])
    places = {name: list(place["properties"]) for name, place in schema["$defs"].items()}
    assert places == {"travel.Place": ["city", "country"], "send.Place": ["street"]}
    assert '"#/$defs/send.Place"' in json.dumps(schema)
    # One alone keeps its names.
    await ask(model := Scripted(ANSWER))
    assert list(schema_of(model.requests[0])["$defs"]) == ["Place"]


async def test_values_from_results_are_the_only_ones_that_the_reply_may_have() -> None:
    def list_orders() -> list[str]:
        return ["A1", "B2"]

    def cancel(order: str, also: list[str] | None = None) -> str:
        return f"{order} is cancelled"

    model = Scripted(
        said('{"action": "list_orders", "arguments": {}}'),
        said('{"action": "cancel", "arguments": {"order": "B2"}}'),
        said('{"action": "chat", "answer": "Done."}'),
    )
    policy = first(force(list_orders)) & from_results(cancel, "order", of=list_orders)
    policy &= from_results(cancel, "also", of=list_orders)
    await Agent(Prompted(model), tools=[list_orders, cancel], tool_choice=policy).run("Cancel B2.")
    last = schema_of(model.requests[1])["anyOf"][-1]["properties"]["arguments"]["properties"]
    assert last["order"] == {"type": "string", "enum": ["A1", "B2"]}
    assert last["also"]["anyOf"] == [{"type": "array", "items": last["order"]}, {"type": "null"}]
    assert '- cancel(order: "A1" or "B2"' in str(sent(model.requests[1])[0]["content"])


async def test_the_prompt_has_the_required_parameters_first_and_the_fields_of_objects() -> None:
    tree = {"type": "object", "properties": {"name": {"type": "string"}, "parts": {"$ref": "#/$defs/Tree"}}}
    parameters: dict[str, object] = {
        "type": "object",
        "properties": {"late": {"type": "boolean"}, "tree": {"$ref": "#/$defs/Tree"}, "many": {"type": "array"}},
        "required": ["tree", "many"],
        "$defs": {"Tree": tree},
    }
    model = Scripted(ANSWER)
    await Prompted(model).complete(ChatRequest(QUESTION, (ToolSpec("plant", "Plant it.", parameters),)))
    line = "- plant(tree: {name: string, parts: Tree}, many: list of any, late: boolean (optional)): Plant it."
    assert str(sent(model.requests[0])[0]["content"]).splitlines()[-1] == line
