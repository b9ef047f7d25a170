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
from agentkit.testing import Chaos, Said, answer, calling, chaos
from agentkit.tool_choice import before_answer

recipes: Any = importlib.import_module("examples.recipes")
own_policy: Any = importlib.import_module("examples.own_policy")
GiveUp, give_up, dictionary = own_policy.GiveUp, own_policy.give_up, own_policy.dictionary

PARIS = "Paris has 2.1 million inhabitants."


def forced(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name}}


def model_at(endpoint: Chaos) -> ChatClient:
    return ChatClient("m", base_url=endpoint.url)


def choices(endpoint: Chaos) -> list[Any]:
    return [request["tool_choice"] for request in endpoint.requests]


def offered(endpoint: Chaos) -> list[list[str]]:
    return [[tool["function"]["name"] for tool in request["tools"]] for request in endpoint.requests]


def results(endpoint: Chaos) -> list[str]:
    """The tool results in the last request."""
    return [message["content"] for message in endpoint.requests[-1]["messages"] if message["role"] == "tool"]


def search_for(query: str) -> Said:
    return calling(("search", {"query": query}))


def test_search_first() -> None:
    with chaos(search_for("paris"), search_for("rome"), answer("2.1 and 2.8 million.")) as endpoint:
        result = recipes.search_first(model_at(endpoint)).run_sync("How many people live in Paris and in Rome?")
    assert choices(endpoint) == [forced("search"), "auto", "auto"]
    assert result.output == "2.1 and 2.8 million."


def test_search_first_holds_where_the_endpoint_ignores_it() -> None:
    with chaos(answer("Many."), search_for("paris"), answer("2.1 million.")) as endpoint:
        result = recipes.search_first(model_at(endpoint)).run_sync("How many people live in Paris?")
    assert choices(endpoint) == [forced("search"), forced("search"), "auto"]
    assert endpoint.requests[1]["messages"][-1]["role"] == "user"
    assert (result.output, result.violations) == ("2.1 million.", 1)


def test_verify_before_answer() -> None:
    wrong = calling(("verify", {"claim": "Paris is big."}))
    right = calling(("verify", {"claim": PARIS}))
    with chaos(search_for("paris"), wrong, right, answer(PARIS)) as endpoint:
        result = recipes.verify_before_answer(model_at(endpoint)).run_sync("How many people live in Paris?")
    assert choices(endpoint) == ["required", "required", "required", "auto"]
    assert results(endpoint) == [
        PARIS,
        "the documents do not say that; search again and use their words",
        "confirmed",
    ]
    assert result.output == PARIS


def test_verify_before_answer_takes_no_answer_before() -> None:
    verified = calling(("verify", {"claim": PARIS}))
    with chaos(answer("Many."), verified, answer(PARIS)) as endpoint:
        result = recipes.verify_before_answer(model_at(endpoint)).run_sync("How many people live in Paris?")
    assert choices(endpoint) == ["required", "required", "auto"]
    assert result.steps[0].violation is not None


def test_stop_after() -> None:
    with chaos(search_for("paris"), search_for("rome"), answer("2.1 and 2.8 million.")) as endpoint:
        recipes.stop_after(model_at(endpoint), calls=2).run_sync("How many people live in Paris and in Rome?")
    assert choices(endpoint) == ["auto", "auto", "none"]
    assert offered(endpoint) == [["search"]] * 3


@pytest.mark.parametrize("approved", [True, False])
def test_approval_before_payment(approved: bool) -> None:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return approved

    request = calling(("request_approval", {"payee": "Ann", "cents": 500}))
    payment = calling(("pay", {"payee": "Ann", "cents": 500}))
    then = [payment, answer("Paid.")] if approved else [answer("It was not approved.")]
    with chaos(payment, request, *then) as endpoint:
        recipes.approval_before_payment(model_at(endpoint), ask).run_sync("Pay Ann 5 euros.")
    assert asked == ["Pay 500 cents to Ann?"]
    assert choices(endpoint) == ["auto"] * len(endpoint.requests)
    both, one = ["request_approval", "pay"], ["request_approval"]
    assert offered(endpoint) == ([one, one, both, both] if approved else [one, one, one])
    assert "must have succeeded" in results(endpoint)[0]
    assert ("paid 500 cents to Ann" in results(endpoint)) is approved


def test_an_approval_is_for_one_payment() -> None:
    request = calling(("request_approval", {"payee": "Ann", "cents": 500}))
    payments = [calling(("pay", {"payee": "Ann", "cents": cents})) for cents in (50_000, 500, 500)]
    with chaos(request, *payments, answer("Done.")) as endpoint:
        recipes.approval_before_payment(model_at(endpoint), bool).run_sync("Pay Ann 5 euros.")
    refused = "this payment was not approved; request approval for it"
    assert results(endpoint) == ["approved", refused, "paid 500 cents to Ann", refused]


def test_pipeline() -> None:
    with chaos(
        calling(("fetch_orders", {"month": "July"})),
        calling(("fetch_orders", {"month": "October"})),
        calling(("compute_total", {"amounts": [120.0, 80.5]})),
        calling(("send_report", {"total": 200.5, "recipient": "Ann"})),
        answer("Sent."),
    ) as endpoint:
        recipes.pipeline(model_at(endpoint)).run_sync("Send Ann the total of October's orders.")
    steps = ["fetch_orders", "fetch_orders", "compute_total", "send_report"]
    assert choices(endpoint) == [*[forced(step) for step in steps], "none"]
    assert results(endpoint) == ["KeyError: 'july'", "[120.0,80.5]", "200.5", "sent 200.5 to Ann"]


def test_stop_a_loop() -> None:
    with chaos(*[search_for("oslo")] * 3, answer("Nothing found.")) as endpoint:
        result = recipes.stop_a_loop(model_at(endpoint)).run_sync("How many people live in Oslo?")
    assert choices(endpoint) == ["auto"] * 4
    assert offered(endpoint) == [["search", "job_status"]] * 3 + [["job_status"]]
    first, second, third = results(endpoint)
    assert first == "nothing found"
    assert "2 times in a row" in second
    assert "2 times in a row already" in third
    assert result.output == "Nothing found."


def test_a_repeatable_tool_is_not_stopped() -> None:
    with chaos(*[calling(("job_status", {"job": 7}))] * 6, answer("Still running.")) as endpoint:
        recipes.stop_a_loop(model_at(endpoint)).run_sync("Wait for job 7.")
    assert offered(endpoint) == [["search", "job_status"]] * 7
    assert results(endpoint) == ["job 7 is still running"] * 6


def test_end_with_a_tool() -> None:
    filed = calling(("file_ticket", {"title": "Lamp is broken"}))
    with chaos(search_for("lamp"), filed) as endpoint:
        result = recipes.end_with_a_tool(model_at(endpoint)).run_sync("My lamp is broken.")
    assert choices(endpoint) == ["required", "required"]
    assert (result.output, result.stop) == ("ticket filed: Lamp is broken", "tool")


def test_a_policy_of_your_own() -> None:
    with chaos(*[calling(("look_up", {"word": "quirk"}))] * 3, answer("I could not look it up.")) as endpoint:
        dictionary(model_at(endpoint)).run_sync("What does 'quirk' mean?")
    assert choices(endpoint) == ["auto", "auto", "auto", "none"]


RECIPES = ("search_first", "verify_before_answer", "stop_after", "pipeline", "stop_a_loop", "end_with_a_tool")


@pytest.mark.parametrize("recipe", [*[getattr(recipes, name) for name in RECIPES], dictionary])
def test_a_recipe_takes_a_model_by_its_name(
    recipe: Callable[[str | Model], Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTKIT_BASE_URL", "http://127.0.0.1:1/v1")
    assert "'some-model'" in repr(recipe("some-model"))


# --8<-- [start:policy]
def history(failures: int) -> State:
    """The state after so many failed calls."""
    messages: list[Message] = [UserMessage("What does 'quirk' mean?")]
    for number in range(failures):
        call = ToolCall(f"c{number}", "look_up", '{"word": "quirk"}')
        failed = ToolMessage(call.id, "cannot be reached", "error")
        messages += AssistantMessage(tool_calls=(call,)), failed
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
