"""The examples, run as scripts in this process, so that they share one embedded local model.

That model takes seconds for each request, so the longer examples run on a fake endpoint.
"""

import base64
import json
import re
import runpy
import struct
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agentkit.testing import Chaos, answer, calling, chaos
from tests import coming_from

EXAMPLES = Path(__file__).parent.parent / "examples"
CASES = range(7)  # of the weather bot's evaluation

pytestmark = pytest.mark.local


def choices(endpoint: Chaos) -> list[Any]:
    return [request["tool_choice"] for request in endpoint.requests]


class Examples:
    """Runs examples in a folder of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self.capfd = capfd

    def __call__(self, name: str, *arguments: str) -> str:
        self.monkeypatch.setattr(sys, "argv", [name, *arguments])
        before = {*sys.modules}
        try:
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        finally:  # an example that another one imports is no module for other tests
            for module in {path.stem for path in EXAMPLES.glob("*.py")} - before:
                sys.modules.pop(module, None)
        out, err = self.capfd.readouterr()
        assert err == ""
        return out

    def at_endpoint(self, endpoint: Chaos, name: str, *arguments: str) -> str:
        """Run an example with another model than the embedded one, which takes seconds for each request."""
        self.monkeypatch.setenv("AGENTKIT_MODEL", "m")
        self.monkeypatch.setenv("AGENTKIT_BASE_URL", endpoint.url)
        return self(name, *arguments)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Examples:
    monkeypatch.chdir(tmp_path)
    return Examples(monkeypatch, capfd)


def test_the_weather_bot_calls_its_tool_and_answers(run: Examples) -> None:
    lines = run("weather.py").splitlines()
    assert lines[0] == "What is the weather in Paris?"
    assert lines[1].startswith("→ get_weather(")
    assert '"Paris"' in lines[1]
    assert re.match(r'← {"city":"Paris","temperature":\d+,"unit":"celsius","estimate":"usual in ', lines[2])
    assert lines[3]


def test_the_weather_bot_knows_hundreds_of_cities_and_says_what_it_does_not_know(run: Examples) -> None:
    cities = ["Berlin", "New York", "São Paulo, Brazil", "Atlantis"]
    called = calling(*[("get_weather", {"city": city, "unit": "fahrenheit"}) for city in cities])
    with chaos(called, answer("Fine.")) as endpoint:
        run.at_endpoint(endpoint, "weather.py")
    results = [json.loads(message["content"]) for message in endpoint.requests[1]["messages"][2:]]
    assert [result.get("city") for result in results] == [*cities[:2], "São Paulo", None]
    assert results[3] == {"answer": "I do not know Atlantis.", "similar": "Atlanta, Catania, Alicante"}
    names = runpy.run_path(str(EXAMPLES / "weather.py"))
    assert len(names["LATITUDES"]) > 500
    for city, july, january in (("rome", 25, 8), ("sydney", 13, 27), ("singapore", 27, 27), ("oslo", 17, -7)):
        latitude = names["LATITUDES"][city]
        degrees = [names["usual"](latitude, datetime(2026, month, 19, tzinfo=UTC)) for month in (7, 1)]
        assert [round(value) for value in degrees] == [july, january], city


def test_the_weather_bot_is_evaluated_with_native_tool_calls_and_with_prompted(run: Examples) -> None:
    """On an endpoint that first calls the tool for whatever it is asked, and then only answers."""
    run.monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    paris = calling(("get_weather", {"city": "PARIS"}))
    tool = runpy.run_path(str(EXAMPLES / "weather.py"))["get_weather"]
    degrees = tool("Paris")["temperature"]
    with chaos(*[paris, answer(f"{degrees} degrees, but in Tromsø.")] * len(CASES), answer("It rains.")) as endpoint:
        lines = run.at_endpoint(endpoint, "weather_cases.py").splitlines()
    table = [line.split() for line in lines]
    (native, prompted) = [line for line in table if line and line[0] in ("native", "Prompted")]
    assert (native[1], prompted[1]) == ("1/7", "2/7")
    assert "Say hello.: get_weather is forbidden and ran" in lines


def test_the_assistant_uses_all_its_tools_on_another_endpoint(run: Examples) -> None:
    script = [
        calling(("find_order", {"number": 1042}), ("shipping_cost", {"country": "France", "express": "true"})),
        answer("It is due on 18 December; express costs 9.80 euros."),
        calling(("take_note", {"text": "call back"}), ("find_order", {"number": 7})),
        answer("There is no order 7; I took a note."),
    ]
    with chaos(*script) as endpoint:
        output = run.at_endpoint(endpoint, "assistant.py", "Where is 1042?", "And 7?")
    assert "> Where is 1042?\n→ " in output
    assert "It is due on 18 December; express costs 9.80 euros." in output
    results = [message["content"] for message in endpoint.requests[-1]["messages"] if message["role"] == "tool"]
    assert results == [
        '{"number":1042,"item":"office chair","status":"in production","due":"2026-12-18"}',
        "9.8",
        "note 1 taken",
        "ValueError: there is no order 7",
    ]
    assert choices(endpoint) == ["required", "none", "required", "none"]


def test_the_automation_finishes_in_order_although_a_step_fails(run: Examples) -> None:
    fetch = calling(("fetch_orders", {"month": "October"}))
    script = [fetch, fetch, calling(("compute_total", {})), calling(("send_report", {"recipient": "Alice"}))]
    with chaos(*script, answer("Sent.")) as endpoint:
        lines = run.at_endpoint(endpoint, "automation.py").splitlines()
    called = [line.split("(")[0].split()[-1] for line in lines if line.startswith("   called ")]
    assert called == ["fetch_orders", "fetch_orders", "compute_total", "send_report"]
    assert lines.count("   error: TimeoutError: the database did not answer; try again") == 1
    assert lines[-1] == "Alice: 200.50 euros"


def test_a_conversation_is_resumed_from_its_file(run: Examples) -> None:
    word, question = "The secret word is banana.", "What is the secret word?"
    with chaos(answer("Noted."), answer("It is banana."), answer("I do not know.")) as endpoint:
        assert run.at_endpoint(endpoint, "remembering.py", word) == "1 prompts so far\nNoted.\n"
        assert run.at_endpoint(endpoint, "remembering.py", question) == "2 prompts so far\nIt is banana.\n"
        Path("chats.db").unlink()
        assert run.at_endpoint(endpoint, "remembering.py", question) == "1 prompts so far\nI do not know.\n"
    contents = [[message["content"] for message in request["messages"]] for request in endpoint.requests]
    assert contents == [[word], [word, "Noted.", question], [question]]


def test_a_text_becomes_a_value(run: Examples) -> None:
    assert run("extract.py") == "3 days in Rome, in May\n"


def test_the_reception_hands_each_question_over(run: Examples) -> None:
    weather = [calling(("ask_weather_desk", {})), calling(("get_weather", {"city": "Paris"})), answer("Light rain.")]
    order = [calling(("ask_order_desk", {})), calling(("find_order", {"number": 1042})), answer("On its way.")]
    with chaos(*weather, *order) as endpoint:
        lines = run.at_endpoint(endpoint, "team.py", "What is the weather in Paris?").splitlines()
        assert lines[:2] == ["What is the weather in Paris?", "reception"]
        handoff = ["→ ask_weather_desk({})", "  weather_desk", '  → get_weather({"city": "Paris"})']
        assert lines[2:] == [*handoff, "Light rain."]
        lines = run.at_endpoint(endpoint, "team.py", "Where is order 1042?").splitlines()
    assert lines[2:] == ["→ ask_order_desk({})", "  order_desk", '  → find_order({"number": 1042})', "On its way."]


def test_a_triage_goes_the_way_of_the_message(run: Examples) -> None:
    refund = [
        calling(("classify", {"kind": "refund"})),
        calling(("find_order", {"number": 7})),
        calling(("find_order", {"number": 1042})),
        calling(("refund", {"number": 1042})),
        answer("You get your money back."),
    ]
    question = [
        calling(("classify", {"kind": "question"}), ("refund", {"number": 1042})),
        calling(("search_help", {"word": "warranty"})),
        answer("Two years."),
    ]
    other = [calling(("classify", {"kind": "other"})), calling(("file_ticket", {"title": "Hi"})), answer("Noted.")]
    with chaos(*refund, *question, *other) as endpoint:
        assert run.at_endpoint(endpoint, "triage.py", "1042 is broken.").endswith("You get your money back.\n")
        assert run.at_endpoint(endpoint, "triage.py", "How long is the warranty?").endswith("Two years.\n")
        assert run.at_endpoint(endpoint, "triage.py", "Hello.").endswith("Noted.\n")
    names = [choice if choice == "none" else choice["function"]["name"] for choice in choices(endpoint)]
    assert names[:5] == ["classify", "find_order", "find_order", "refund", "none"]
    assert names[5:] == ["classify", "search_help", "none", "classify", "file_ticket", "none"]


def test_a_nightly_script_makes_one_request(run: Examples) -> None:
    with chaos(calling(("send_report", {"text": "Order chairs."}))) as endpoint:
        output = run.at_endpoint(endpoint, "nightly.py")
    assert output == "sent: Order chairs.\n5 steps, 1 requests\n"
    (request,) = endpoint.requests
    results = [message["content"] for message in request["messages"] if message["role"] == "tool"]
    assert results == ['["chair","lamp","table"]', "chair: 0", "lamp: 3", "table: 12"]


def test_of_300_tools_a_request_has_those_that_fit(run: Examples) -> None:
    exported = calling(("export_invoice", {"what": "October"}))
    with chaos(exported, answer("Exported.")) as endpoint:
        lines = run.at_endpoint(endpoint, "many_tools.py", "Export the invoices of October.").splitlines()
    assert lines == ['→ export_invoice({"what": "October"})', "Exported."]
    for request in endpoint.requests:
        names = [tool["function"]["name"] for tool in request["tools"]]
        assert "export_invoice" in names
        assert len(names) <= 10


def test_a_model_sees_the_chart_that_it_asked_for(run: Examples) -> None:
    with chaos(calling(("chart", {"product": "lamps"})), answer("They go up.")) as endpoint:
        assert run.at_endpoint(endpoint, "picture.py") == "They go up.\n"
    *_, result, shown = endpoint.requests[-1]["messages"]
    assert result["content"] == "Sales of lamps:"
    (url,) = [part["image_url"]["url"] for part in shown["content"] if part["type"] == "image_url"]
    picture = base64.b64decode(url.partition(",")[2])
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (4 * 24, 64)


def test_many_inputs_are_asked_once(run: Examples) -> None:
    with chaos(*[answer("It is Paris.")] * 4) as endpoint:
        first = run.at_endpoint(endpoint, "many.py").splitlines()
        again = run.at_endpoint(endpoint, "many.py").splitlines()
        assert len(endpoint.requests) == 4
    assert first[:-1] == [f"{country}: It is Paris." for country in ("France", "Italy", "Norway", "Egypt")]
    assert first[-1].startswith("4 done, 4 requests, ")
    assert again[:-1] == first[:-1]
    assert again[-1] == first[-1].replace("4 done", "4 done (4 before)")


def test_the_shop_of_the_tutorial(run: Examples) -> None:
    found = calling(("find_order", {"number": 1042}))
    script = [found, answer("In production.")] * 3 + [answer("Shipped."), answer("In production.")]
    with chaos(*script, *script) as endpoint:
        output = run.at_endpoint(endpoint, "shop.py")
        Path("chats.db").unlink()
        names = runpy.run_path(str(EXAMPLES / "shop.py"))
    assert output.count("said In production.") == 3
    assert output.endswith("Shipped.\nIn production.\n5 answer\n")
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.mark.parametrize("name", coming_from.PACKAGES)
def test_what_others_are_beside_does_the_same(name: str, run: Examples) -> None:
    with chaos(*coming_from.script(name, theirs=False)) as endpoint:
        assert run.at_endpoint(endpoint, f"coming_from/from_{name}.py") == f"{coming_from.ANSWER}\n"
    assert endpoint.requests[1]["messages"][-1]["content"].endswith("light rain in Paris")


def test_every_program_of_others_is_beside_one_of_ours() -> None:
    for folder in (coming_from.OURS, coming_from.THEIRS):
        assert {path.stem for path in folder.glob("*.py")} == {f"from_{name}" for name in coming_from.PACKAGES}
    page = (EXAMPLES.parent / "docs/coming-from.md").read_text()
    assert all(page.count(f"coming_from/from_{name}.py") == 2 for name in coming_from.PACKAGES)


class Shop(BaseHTTPRequestHandler):
    """The API that the assistant is for."""

    seen: ClassVar[list[tuple[str, str, str]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self.seen.append((self.command, self.path, body))
        found = {"/customers/ann/orders": [1042], "/customers/ann/orders/1042": {"item": "chair", "euros": 90}}
        refunded = {"paid": True} if self.command == "POST" else None
        data = json.dumps(found.get(self.path, refunded)).encode()
        status = 500 if "1043" in self.path else 404 if data == b"null" else 200
        self.send_response(200 if self.headers["authorization"] == "Bearer sk-shop" and status == 200 else status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 (the server looks for this name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the server's name for it)
        """Say nothing."""


def test_the_assistant_over_an_api_looks_up_and_refunds_once(run: Examples) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run.monkeypatch.setenv("SHOP_URL", f"http://127.0.0.1:{server.server_port}")
    run.monkeypatch.setenv("SHOP_KEY", "sk-shop")
    questions = iter(["Refund 50 euros of order 1042.", ""])

    def read(_: str) -> str:
        return next(questions)

    run.monkeypatch.setattr("builtins.input", read)
    refund = calling(("refund", {"number": 1042, "euros": 50}))
    looks = [calling((name, {"number": number})) for name, number in (("find_order", 7), ("find_order", 1043))]
    script = [calling(("list_orders", {})), *looks, calling(("find_order", {"number": 1042})), refund, answer("Paid.")]
    with chaos(*script) as endpoint:
        assert run.at_endpoint(endpoint, "api_assistant.py", "ann") == "Paid.\n"
    server.shutdown()
    server.server_close()
    results = [message["content"] for message in endpoint.requests[-1]["messages"] if message["role"] == "tool"]
    assert results == [
        "[1042]", "this customer has no such order", "the shop answered 500; apologise",
        '{"item":"chair","euros":90}', '{"paid":true}',
    ]  # fmt: skip
    method, path, body = Shop.seen[-1]
    assert (method, path, json.loads(body)["euros"]) == ("POST", "/customers/ann/orders/1042/refunds", 50)
    assert json.loads(body)["idempotency_key"]
    assert "sk-shop" not in json.dumps(endpoint.requests)
