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


def request_for(payee: str, cents: int) -> tuple[str, object]:
    return "request_approval", {"payee": payee, "cents": cents}


def payment(payee: str, cents: int) -> tuple[str, object]:
    return "pay", {"payee": payee, "cents": cents}


NOT_APPROVED = "request approval for exactly this payment first"


def test_approval_per_payment() -> None:
    with chaos(
        calling(payment("Ann", 500), request_for("Ann", 500)),
        calling(request_for("Bob", 70)),
        calling(payment("Ann", 50_000), payment("Ann", 500), payment("Ann", 500), payment("Bob", 70)),
        answer("Done."),
    ) as endpoint:
        recipes.approval_per_payment(model_at(endpoint)).run_sync("Pay Ann 5 euros and Bob 70 cents.")
    one, both = ["request_approval"], ["request_approval", "pay"]
    assert offered(endpoint) == [one, both, both, one]
    unasked, *others = results(endpoint)
    assert unasked.startswith("Not run: ")
    assert [NOT_APPROVED if NOT_APPROVED in result else result for result in others] == [
        *("approved", "approved", NOT_APPROVED, "paid 500 cents to Ann", NOT_APPROVED, "paid 70 cents to Bob"),
    ]


def test_a_denied_approval_is_none() -> None:
    with chaos(calling(request_for("Eve", 1)), answer("It was not approved.")) as endpoint:
        recipes.approval_per_payment(model_at(endpoint)).run_sync("Pay Eve 1 cent.")
    assert offered(endpoint) == [["request_approval"]] * 2


def test_no_mail_after_the_web() -> None:
    mail = calling(("send_mail", {"to": "eve@example.org", "text": "all customers"}))
    page = ("read_web", {"url": "https://example.org"})
    with chaos(calling(page, *mail.calls), answer("A page."), answer("I cannot send mail now.")) as endpoint:
        agent = recipes.no_mail_after_the_web(model_at(endpoint))
        result = agent.run_sync("What does example.org say?")
        agent.run_sync([*result.messages, UserMessage("Mail it to Eve.")])
    assert offered(endpoint) == [["read_web", "send_mail"], ["read_web"], ["read_web"]]
    assert results(endpoint)[1].startswith("Not run: ")


def test_no_invented_ids() -> None:
    wrong, right, other = [("cancel", {"booking": booking}) for booking in ("A99", "A17", "A22")]
    with chaos(calling(("list_bookings", {})), calling(wrong, right, other), answer("Done.")) as endpoint:
        recipes.no_invented_ids(model_at(endpoint)).run_sync("Cancel my trip to Rome.")
    assert offered(endpoint) == [["list_bookings"], ["list_bookings", "cancel"], ["list_bookings"]]
    _, invented, cancelled, beyond = results(endpoint)
    assert invented.startswith("Not run: booking must be one of ")
    assert cancelled.startswith("A17 is cancelled")
    assert beyond.startswith("Not run: the budget ")


def test_two_sources() -> None:
    ask = [calling(("index", {"query": query})) for query in ("lamp", "lamps")]
    with chaos(*ask, calling(("archive", {"query": "lamp"})), answer("One document.")) as endpoint:
        recipes.two_sources(model_at(endpoint)).run_sync("What do we have about lamps?")
    assert choices(endpoint) == ["required", "required", "required", "auto"]
    assert offered(endpoint) == [["index"], ["index"], ["archive"], ["archive"]]


def test_log_in_once() -> None:
    wrong, right = calling(("log_in", {"pin": "0000"})), calling(("log_in", {"pin": "1234"}))
    pay = calling(payment("Ann", 500))
    with chaos(wrong, right, answer("Welcome."), pay, answer("Paid.")) as endpoint:
        agent = recipes.log_in_once(model_at(endpoint))
        result = agent.run_sync("My PIN is 1234.")
        agent.run_sync([*result.messages, UserMessage("Pay Ann 5 euros.")])
    assert offered(endpoint) == [["log_in"], ["log_in"], *[["log_in", "pay"]] * 3]
    assert results(endpoint)[-1].startswith("paid 500 cents to Ann")


def test_only_so_many_pins_are_tried() -> None:
    guesses = [("log_in", {"pin": str(pin)}) for pin in range(5)]
    with chaos(calling(*guesses), answer("I cannot log you in.")) as endpoint:
        recipes.log_in_once(model_at(endpoint)).run_sync("Log me in.")
    assert [result.startswith("Not run: ") for result in results(endpoint)] == [False, False, False, True, True]
    assert choices(endpoint) == ["auto", "none"]


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


def test_a_policy_of_your_own_judges_each_call() -> None:
    quirk, lamp = ("look_up", {"word": "quirk"}), ("look_up", {"word": "lamp"})
    with chaos(calling(quirk, quirk), calling(lamp, quirk), answer("I could not look them up.")) as endpoint:
        own_policy.dictionary_without_repeats(model_at(endpoint)).run_sync("What do 'quirk' and 'lamp' mean?")
    assert ["'quirk' was looked up before" in result for result in results(endpoint)] == [False, True, False, True]


RECIPES = (
    *("search_first", "verify_before_answer", "stop_after", "approval_per_payment", "pipeline", "stop_a_loop"),
    *("end_with_a_tool", "no_mail_after_the_web", "no_invented_ids", "two_sources", "log_in_once"),
)


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
