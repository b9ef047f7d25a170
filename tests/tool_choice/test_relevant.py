import pytest

from agentkit import (
    AssistantMessage,
    ConfigurationError,
    ImagePart,
    State,
    SystemMessage,
    TextPart,
    Tool,
    Toolbox,
    ToolCall,
    ToolChoice,
    ToolMessage,
    UserMessage,
)
from agentkit.tool_choice import auto, force, relevant
from agentkit.tool_choice.relevant import find_tools, ranked
from tests.tool_choice import GO, state


def tool(name: str, description: str) -> Tool:
    return Tool.of(lambda: None, name=name, description=description)


TOOLS = Toolbox([
    tool("list_invoices", "List the invoices of a customer.\nNewest first."),
    tool("send_mail", "Send a mail to a customer."),
    tool("weather", "Look up the weather."),
])  # fmt: skip


@pytest.mark.parametrize(("query", "names"), [
    ("an invoice", ["list_invoices"]),
    ("mail the customer", ["send_mail", "list_invoices", "weather"]),
    ("WEATHER?", ["weather"]),
    ("nothing", []),
])  # fmt: skip
def test_the_tools_that_share_a_word_with_a_query(query: str, names: list[str]) -> None:
    assert ranked(TOOLS, query) == names
    assert ranked(Toolbox(), query) == []


def test_what_is_offered_follows_from_the_conversation() -> None:
    policy = relevant(1, TOOLS)
    messages = (SystemMessage("weather"), UserMessage((TextPart("An invoice."), ImagePart("https://a.b/c.png"))))
    now = State.of((*messages, AssistantMessage()))
    assert policy(now).tools == frozenset({"list_invoices"})
    assert policy(State.of((GO,))).tools == frozenset()
    assert policy(state(("weather", "ok"))).tools == frozenset(
        {"weather", "list_invoices"}
    )  # "the result" has a word of it
    assert policy.memory(now) == policy(now)
    assert policy == relevant(1)


def test_a_call_that_was_refused_is_not_offered_for_it() -> None:
    call = ToolCall("c", "send_mail", "{}")
    refused = ToolMessage("c", "Not run: send_mail is not offered now.", "refused")
    now = State.of((UserMessage("weather"), AssistantMessage(tool_calls=(call,)), refused))
    assert relevant(1, TOOLS)(now).tools == frozenset({"weather"})


def test_it_knows_the_tools_of_the_agent() -> None:
    policy = (auto & relevant(1)).bound(TOOLS)
    assert policy(State.of((UserMessage("weather"),))).tools == frozenset({"weather"})


def test_what_was_found_is_offered() -> None:
    search = find_tools(TOOLS, 1)
    policy = relevant(1, Toolbox([*TOOLS, search]))
    call = ToolCall("c", "find_tools", "{}")
    history = (
        UserMessage("weather"),
        AssistantMessage(tool_calls=(call,)),
        ToolMessage("c", str(search.function("a mail"))),
    )
    for messages in (history, (*history, AssistantMessage("ok"), UserMessage("weather"))):
        assert policy(State.of(messages)).tools == frozenset({"weather", "send_mail", "find_tools"})
    assert policy(State.of((GO,))).tools == frozenset({"find_tools"})


def test_a_tool_that_is_forced_is_offered() -> None:
    policy = (force("weather") & relevant(1)).bound(TOOLS)
    assert policy(State.of((UserMessage("an invoice"),))) == ToolChoice(
        "tool", "weather", frozenset({"list_invoices", "weather"})
    )


def test_the_model_can_ask_for_others() -> None:
    search = find_tools(TOOLS, 1)
    assert search.function("a mail") == "send_mail: Send a mail to a customer."
    assert search.function("invoice") == "list_invoices: List the invoices of a customer."


def test_at_least_one_tool_is_offered() -> None:
    with pytest.raises(ConfigurationError):
        relevant(0)
