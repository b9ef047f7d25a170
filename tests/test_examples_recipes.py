"""Every recipe runs against the scripted endpoint, and the tool_choice of each request is what its page says."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from agentkit import (
    Agent,
    AssistantMessage,
    ChatClient,
    Message,
    Model,
    PolicyContradiction,
    State,
    ToolCall,
    ToolChoice,
    ToolMessage,
    UserMessage,
)
from agentkit.tool_choice import before_answer
from tests.endpoint import Endpoint, Json, calls, serving, text

recipes: Any = importlib.import_module("examples.recipes")
own_policy: Any = importlib.import_module("examples.own_policy")
GiveUp, give_up, dictionary = own_policy.GiveUp, own_policy.give_up, own_policy.dictionary

PARIS = "Paris has 2.1 million inhabitants."


def forced(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def model_at(endpoint: Endpoint) -> ChatClient:
    return ChatClient("m", base_url=endpoint.url)


def choices(endpoint: Endpoint) -> list[Any]:
    return [request["tool_choice"] for request in endpoint.requests]


def offered(endpoint: Endpoint) -> list[list[str]]:
    return [[each["function"]["name"] for each in request["tools"]] for request in endpoint.requests]


def results(endpoint: Endpoint) -> list[str]:
    """The tool results in the last request."""
    return [each["content"] for each in endpoint.requests[-1]["messages"] if each["role"] == "tool"]


def search_for(query: str) -> Json:
    return calls(("search", {"query": query}), ids=[f"search {query}"])


def test_search_first() -> None:
    with serving(search_for("paris"), search_for("rome"), text("2.1 and 2.8 million.")) as endpoint:
        result = recipes.search_first(model_at(endpoint)).run_sync("How many people live in Paris and in Rome?")
    assert choices(endpoint) == [forced("search"), "auto", "auto"]
    assert result.output == "2.1 and 2.8 million."


def test_search_first_holds_where_the_endpoint_ignores_it() -> None:
    with serving(text("Many."), search_for("paris"), text("2.1 million.")) as endpoint:
        result = recipes.search_first(model_at(endpoint)).run_sync("How many people live in Paris?")
    assert choices(endpoint) == [forced("search"), forced("search"), "auto"]
    assert endpoint.requests[1]["messages"][-1]["role"] == "user"
    assert (result.output, result.violations) == ("2.1 million.", 1)


def test_verify_before_answer() -> None:
    wrong = calls(("verify", {"claim": "Paris is big."}), ids=["first"])
    right = calls(("verify", {"claim": PARIS}), ids=["second"])
    with serving(search_for("paris"), wrong, right, text(PARIS)) as endpoint:
        result = recipes.verify_before_answer(model_at(endpoint)).run_sync("How many people live in Paris?")
    assert choices(endpoint) == ["required", "required", "required", "auto"]
    assert results(endpoint) == [
        PARIS,
        "the documents do not say that; search again and use their words",
        "confirmed",
    ]
    assert result.output == PARIS


def test_verify_before_answer_takes_no_answer_before() -> None:
    verified = calls(("verify", {"claim": PARIS}))
    with serving(text("Many."), verified, text(PARIS)) as endpoint:
        result = recipes.verify_before_answer(model_at(endpoint)).run_sync("How many people live in Paris?")
    assert choices(endpoint) == ["required", "required", "auto"]
    assert str(result.steps[0].violation) == "it answered where a tool must be called"


def test_stop_after() -> None:
    with serving(search_for("paris"), search_for("rome"), text("2.1 and 2.8 million.")) as endpoint:
        recipes.stop_after(model_at(endpoint), calls=2).run_sync("How many people live in Paris and in Rome?")
    assert choices(endpoint) == ["auto", "auto", "none"]
    assert offered(endpoint) == [["search"]] * 3


@pytest.mark.parametrize("answer", [True, False])
def test_approval_before_payment(answer: bool) -> None:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return answer

    too_early = calls(("pay", {"payee": "Ann", "cents": 500}), ids=["early"])
    request = calls(("request_approval", {"payee": "Ann", "cents": 500}), ids=["request"])
    payment = calls(("pay", {"payee": "Ann", "cents": 500}), ids=["pay"])
    then = [payment, text("Paid.")] if answer else [text("It was not approved.")]
    with serving(too_early, request, *then) as endpoint:
        result = recipes.approval_before_payment(model_at(endpoint), ask).run_sync("Pay Ann 5 euros.")
    assert asked == ["Pay 500 cents to Ann?"]
    assert choices(endpoint) == ["auto"] * len(endpoint.requests)
    both, one = ["request_approval", "pay"], ["request_approval"]
    assert offered(endpoint) == ([one, one, both, both] if answer else [one, one, one])
    assert str(result.steps[0].violation) == "it called pay, which is not offered now"
    assert ("paid 500 cents to Ann" in results(endpoint)) is answer


def test_an_approval_is_for_one_payment() -> None:
    def payment(cents: int, call_id: str) -> Json:
        return calls(("pay", {"payee": "Ann", "cents": cents}), ids=[call_id])

    def approve(question: str) -> bool:
        return question == "Pay 500 cents to Ann?"

    request = calls(("request_approval", {"payee": "Ann", "cents": 500}), ids=["request"])
    replies = (request, payment(50_000, "more"), payment(500, "once"), payment(500, "twice"), text("Done."))
    with serving(*replies) as endpoint:
        recipes.approval_before_payment(model_at(endpoint), approve).run_sync("Pay Ann 5 euros.")
    refused = "this payment was not approved; request approval for this payee and amount"
    assert results(endpoint) == ["approved", refused, "paid 500 cents to Ann", refused]


def test_pipeline() -> None:
    with serving(
        calls(("fetch_orders", {"month": "July"}), ids=["wrong month"]),
        calls(("fetch_orders", {"month": "October"}), ids=["right month"]),
        calls(("compute_total", {"amounts": [120.0, 80.5]})),
        calls(("send_report", {"total": 200.5, "recipient": "Ann"})),
        text("Sent."),
    ) as endpoint:
        recipes.pipeline(model_at(endpoint)).run_sync("Send Ann the total of October's orders.")
    steps = ["fetch_orders", "fetch_orders", "compute_total", "send_report"]
    assert choices(endpoint) == [*[forced(step) for step in steps], "none"]
    assert results(endpoint) == ["KeyError: 'july'", "[120.0,80.5]", "200.5", "sent 200.5 to Ann"]


def test_stop_a_loop() -> None:
    def reply(request: Json) -> Json:
        names = [each["function"]["name"] for each in request["tools"]]
        made = len(request["messages"])
        return calls(("search", {"query": "oslo"}), ids=[f"c{made}"]) if "search" in names else text("Nothing found.")

    with serving(reply) as endpoint:
        result = recipes.stop_a_loop(model_at(endpoint)).run_sync("How many people live in Oslo?")
    assert choices(endpoint) == ["auto"] * 4
    assert offered(endpoint) == [["search", "job_status"]] * 3 + [["job_status"]]
    first, second, third = results(endpoint)
    assert first == "nothing found"
    assert second.endswith("Note: this same call came 2 times in a row. Use what you have, or do something else.")
    assert third.endswith("search is withheld until you do something else or answer.")
    assert result.output == "Nothing found."


def test_a_repeatable_tool_is_not_stopped() -> None:
    polls = [calls(("job_status", {"job": 7}), ids=[f"poll {number}"]) for number in range(6)]
    with serving(*polls, text("Still running.")) as endpoint:
        recipes.stop_a_loop(model_at(endpoint)).run_sync("Wait for job 7.")
    assert offered(endpoint) == [["search", "job_status"]] * 7
    assert results(endpoint) == ["job 7 is still running"] * 6


def test_end_with_a_tool() -> None:
    filed = calls(("file_ticket", {"title": "Lamp is broken"}))
    with serving(search_for("lamp"), filed) as endpoint:
        result = recipes.end_with_a_tool(model_at(endpoint)).run_sync("My lamp is broken.")
    assert choices(endpoint) == ["required", "required"]
    assert (result.output, result.stop) == ("ticket filed: Lamp is broken", "tool")


def test_a_policy_of_your_own() -> None:
    tries = [calls(("look_up", {"word": "quirk"}), ids=[f"try {number}"]) for number in range(3)]
    with serving(*tries, text("I could not look it up.")) as endpoint:
        dictionary(model_at(endpoint)).run_sync("What does 'quirk' mean?")
    assert choices(endpoint) == ["auto", "auto", "auto", "none"]


@pytest.mark.parametrize(
    "recipe",
    [
        recipes.search_first,
        recipes.verify_before_answer,
        recipes.stop_after,
        recipes.pipeline,
        recipes.stop_a_loop,
        recipes.end_with_a_tool,
        dictionary,
    ],
)
def test_a_recipe_takes_a_model_by_its_name(recipe: Callable[[str | Model], Agent]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
        assert "'some-model'" in repr(recipe("some-model"))


# --8<-- [start:policy]
def history(failures: int) -> State:
    """The state after so many failed calls."""
    messages: list[Message] = [UserMessage("What does 'quirk' mean?")]
    for number in range(failures):
        call = ToolCall(f"c{number}", "look_up", '{"word": "quirk"}')
        messages += AssistantMessage(tool_calls=(call,)), ToolMessage(call.id, "cannot be reached", "error")
    return State.of(tuple(messages))


def test_giving_up() -> None:
    assert GiveUp(2)(history(failures=1)) == ToolChoice("auto")
    assert GiveUp(2)(history(failures=2)) == ToolChoice("none")
    assert give_up(history(failures=3)) == "none"


# --8<-- [end:policy]


def test_a_class_is_a_value_and_combines() -> None:
    assert GiveUp(2) == GiveUp(2)
    assert repr(GiveUp(2)) == "GiveUp(failures=2)"
    with pytest.raises(PolicyContradiction, match="GiveUp"):
        (GiveUp(1) & before_answer("look_up"))(history(failures=1))
