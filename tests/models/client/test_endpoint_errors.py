import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit import Agent, ChatClient, Profile, QuotaExceeded, RateLimited, RequestRefused
from agentkit.core.errors import AgentkitError, AuthenticationFailed, ContextTooLong, EndpointError, EndpointUnavailable
from agentkit.models.client.endpoint_errors import endpoint_error, error_event, error_inside
from agentkit.testing import calling, chaos, status
from tests.endpoint import Json
from tests.strategies import any_text

URL = "https://a.b/v1/chat/completions"
NOW = 1_700_000_000.0


def failed(status: int, body: Any = b"", **headers: str) -> EndpointError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return endpoint_error(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, URL, NOW)


@pytest.mark.parametrize(("status", "kind"), [
    *[(status, AuthenticationFailed) for status in (401, 403)],
    *[(status, RequestRefused) for status in (301, 302, 304, 307, 308, 400, 404, 405, 418, 422, 499)],
    (402, QuotaExceeded),
    (413, ContextTooLong),
    (429, RateLimited),
    *[(status, EndpointUnavailable) for status in (408, 409, 500, 501, 502, 503, 504, 529, 599)],
])  # fmt: skip
def test_each_status_has_its_class(status: int, kind: type[EndpointError]) -> None:
    error = failed(status, {"error": {"message": "so it is", "code": "c"}}, x_request_id="r1")
    assert type(error) is kind
    assert (error.status, error.code, error.request_id, error.retry_after) == (status, "c", "r1", None)
    assert str(error).startswith(f"{URL} answered {status}: ")


@pytest.mark.parametrize(("body", "message", "code"), [
    ({"error": {"message": "No.", "type": "invalid_request_error", "code": "not_found"}}, "No.", "not_found"),
    ({"error": {"message": "No.", "type": "invalid_request_error", "code": None}}, "No.", "invalid_request_error"),
    ({"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}, "No.", "400"),
    ([{"error": {"code": 400, "message": "No.", "status": "INVALID_ARGUMENT"}}], "No.", "400"),
    ({"error": "No."}, "No.", None),
    ({"error": "Bad Request", "message": "No.", "status": 400}, "No.", "400"),
    ({"error": ["No.", "Really."]}, "No.", None),
    ({"error": [], "message": "No."}, "No.", None),
    ({"error": {"details": [1]}}, '{"details":[1]}', None),
    ({"detail": "No."}, "No.", None),
    ({"detail": [{"loc": ["body", "n"], "msg": "too large"}]}, '[{"loc":["body","n"],"msg":"too large"}]', None),
    ({"message": "No.", "code": "x"}, "No.", "x"),
    ({"object": "error", "message": "No.", "type": "BadRequestError", "code": 40001}, "No.", "40001"),
    ({"title": "No.", "status": 400}, "No.", "400"),
    ({"msg": "No.", "code": {"a": 1}, "type": ""}, "No.", None),
    ({"errors": "x"}, '{"errors":"x"}', None),
    ("No.", "No.", None),
    (["No."], "No.", None),
    ([], "nothing more", None),
    ({}, "{}", None),
    (5, "5", None),
    (None, "null", None),
    (b"", "nothing more", None),
    (b"  \n", "nothing more", None),
    (b"upstream connect error", "upstream connect error", None),
    (b'{"error": {"message": "cut', '{"error": {"message": "cut', None),
    (b"\xff\xfe", "\ufffd\ufffd", None),
    (b'{"error": "\\ud800"}', "\ufffd", None),
    (b"[" * 500, "[" * 300, None),
])  # fmt: skip
def test_the_message_and_the_code_are_found_in_any_shape(body: Any, message: str, code: str | None) -> None:
    error = failed(400, body)
    assert str(error) == f"{URL} answered 400: {message}"
    assert error.code == code
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert error.body == raw.decode("utf-8", "replace").strip()


def test_what_is_kept_of_a_long_body_is_bounded() -> None:
    error = failed(500, {"error": {"message": "x" * 9000}})
    assert (str(error).count("x"), len(error.body)) == (500, 2000)
    assert str(failed(500, b"x" * 9000)).count("x") == 300
    assert str(failed(500, b"<html>" + b"x" * 9000)).count("x") == 300


def test_of_a_web_page_what_a_reader_sees_is_told() -> None:
    page = (
        b"<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title><STYLE>p { color: red }</STYLE>\n"
        b"<script>\nalert(1)\n</script></head><body>\n<h1>Bad   gateway</h1> Your IP: 203.0.113.7 "
        b"(or 2.3.4.5), version 1.2.3</body></html>"
    )
    error = failed(502, page)
    assert error.body == "502 Bad Gateway Bad gateway Your IP: … (or …), version 1.2.3"
    assert str(error) == f"{URL} answered 502: {error.body}"
    assert failed(502, b"<>").body == ""
    for piece in (b"<", b"<style>", b"<script"):  # however often, it is read in no time
        start = time.process_time()
        assert len(str(error_event(b"<" + piece * (1_000_000 // len(piece))))) < 600
        assert time.process_time() - start < 2


def test_an_error_says_what_to_do() -> None:
    for code, advice in ((401, "AGENTKIT_API_KEY"), (403, "allowed"), (404, "/v1"), (413, "too long")):
        text = str(failed(code, {"error": "No."}))
        assert ": No.; " in text
        assert advice in text.rpartition("; ")[2]
    assert "'https://b.c/v1', which" in str(failed(308, b"<html>Moved</html>", location="https://b.c/v1"))
    assert "'nowhere'" in str(failed(304))


def test_headers_say_how_long_to_wait_and_whether_to_retry() -> None:
    for header, seconds in (("1.5", 1.5), ("soon", None), ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0)):
        assert failed(429, retry_after=header).retry_after == failed(503, retry_after=header).retry_after == seconds
    for header, should in (("true", True), ("True", True), ("FALSE", False), ("", None), ("1", None), ("no", None)):
        assert failed(503, x_should_retry=header).should_retry is should
    assert failed(503).should_retry is None


@pytest.mark.parametrize(("status", "error", "kind"), [
    # a quota that is used up, whatever the status
    (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, QuotaExceeded),
    (429, {"code": None, "type": "insufficient_quota"}, QuotaExceeded),
    (429, {"code": "billing_hard_limit_reached", "type": "invalid_request_error"}, QuotaExceeded),
    (400, {"code": "billing_not_active"}, QuotaExceeded),
    (403, {"code": "Insufficient_Quota"}, QuotaExceeded),
    # a conversation that is too long, whatever the status
    (400, {"code": "context_length_exceeded", "type": "invalid_request_error"}, ContextTooLong),
    (400, {"code": 400, "type": "exceed_context_size_error"}, ContextTooLong),
    (500, {"code": "context_length_exceeded"}, ContextTooLong),
    *[(400, {"message": f"the context {word}"}, ContextTooLong) for word in ("Length", "size", "window")],
    *[(422, {"message": f"The {word} is too long: 9 > 8"}, ContextTooLong) for word in ("prompt", "Input")],
    # else the status says more than the code or the wording
    (500, {"message": "the context length"}, EndpointUnavailable),
    (429, {"message": "the context window", "code": "server_error"}, RateLimited),
    (401, {"code": "rate_limit_exceeded"}, AuthenticationFailed),
    (400, {"code": "server_error"}, RequestRefused),
    (503, {"code": "invalid_api_key"}, EndpointUnavailable),
    (429, {"message": "You exceeded your current quota"}, RateLimited),
    # inside an answer, where there is no status
    (None, {"code": "insufficient_quota"}, QuotaExceeded),
    (None, {"code": "402"}, QuotaExceeded),
    (None, {"code": 400, "message": "prompt is too long"}, ContextTooLong),
    (None, {"code": "context_length_exceeded"}, ContextTooLong),
    (None, {"type": "invalid_request_error", "message": "prompt is too long"}, ContextTooLong),
    (None, {"type": "invalid_request_error"}, RequestRefused),
    (None, {"type": "authentication_error"}, AuthenticationFailed),
    (None, {"type": "Rate_Limit_Error"}, RateLimited),
    (None, {"code": "x", "type": "overloaded_error"}, EndpointUnavailable),
    (None, {"code": "invalid_api_key", "status": 503}, EndpointUnavailable),
    (None, {"code": "what", "message": "prompt is too long"}, EndpointError),
])  # fmt: skip
def test_the_kind_is_decided_by_the_status_or_a_code(
    status: int | None, error: Json, kind: type[EndpointError]
) -> None:
    assert type(error_inside({"error": error}) if status is None else failed(status, {"error": error})) is kind


@pytest.mark.parametrize(("data", "kind", "message", "code"), [
    ({"error": {"message": "No.", "code": 429}}, RateLimited, "No.", "429"),
    ({"error": {"message": "No.", "code": 500}, "choices": []}, EndpointUnavailable, "No.", "500"),
    ({"error": {"message": "No.", "code": "busy", "status": 503}}, EndpointUnavailable, "No.", "busy"),
    ({"error": {"message": "No.", "code": 200}}, EndpointError, "No.", "200"),
    ({"error": {"message": "No.", "code": "9" * 5000}}, EndpointError, "No.", "9" * 5000),
    ({"error": "STREAM_EXPLODED"}, EndpointError, "STREAM_EXPLODED", None),
    ({"error": [list[int]()]}, EndpointError, "nothing more", None),
    ({"error": True}, EndpointError, "true", None),
    ({"object": "error", "message": "No.", "code": 500}, EndpointUnavailable, "No.", "500"),
])  # fmt: skip
def test_an_error_inside_an_answer(data: Json, kind: type[EndpointError], message: str, code: str | None) -> None:
    error = error_inside(data)
    assert isinstance(error, EndpointError)
    assert type(error) is kind
    assert str(error).endswith(f": {message}")
    assert (error.status, error.code, error.body) == (None, code, message)


def test_an_answer_is_no_error() -> None:
    answers: list[Any] = [
        {},
        {"choices": []},
        {"error": None},
        {"error": {}},
        {"error": ""},
        {"object": "chat.completion"},
    ]
    for answer in (*answers, {"error": {"message": "No."}, "choices": [{"index": 0}]}):
        assert error_inside(answer) is None


def test_an_event_named_error_is_one_whatever_it_holds() -> None:
    for data, kind, message in (
        (b'{"message":"upstream died"}', EndpointError, "upstream died"),
        (b'{"error":{"message":"busy","code":503}}', EndpointUnavailable, "busy"),
        (b"upstream died", EndpointError, "upstream died"),
        (b"", EndpointError, "nothing more"),
        (b"\xff", EndpointError, "\ufffd"),
    ):
        error = error_event(data)
        assert (type(error), str(error).rpartition(": ")[2]) == (kind, message)


KEYS = st.sampled_from(["error", "message", "code", "type", "status", "detail", "object", "x"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50)
@given(st.integers(300, 599), JSON.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=30))
def test_every_body_makes_an_error(status: int, body: bytes) -> None:
    assert isinstance(failed(status, body), AgentkitError)
    assert isinstance(error_event(body), AgentkitError)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["error", "object", "choices", "message"]), JSON))
def test_whatever_an_answer_holds_it_is_an_error_or_not(data: dict[str, Any]) -> None:
    error = error_inside(data)
    assert error is None or len(str(error)) < 1000


# https://github.com/langchain-ai/langchain/issues/40769
@pytest.mark.parametrize("message", [
    "deepseek-reasoner does not support this tool_choice",
    "The tool_choice parameter does not support being set to required or object in thinking mode",
    "Thinking may not be enabled when tool_choice forces tool use.",
    "Tool choice must be auto",
])  # fmt: skip
def test_a_refused_forced_choice_says_what_to_set(message: str) -> None:
    """The error of langchain#40769 had no way out."""
    body = json.dumps({"error": {"message": message}}).encode()
    for code in (400, 422):
        assert "unforced" in str(endpoint_error(code, {}, body, URL, NOW, forced=True))
        assert "unforced" not in str(endpoint_error(code, {}, body, URL, NOW))
    assert "unforced" not in str(endpoint_error(500, {}, body, URL, NOW, forced=True))
    assert "unforced" not in str(endpoint_error(400, {}, b"n is too large", URL, NOW, forced=True))


@pytest.mark.anyio
async def test_a_structured_output_that_is_refused_says_what_to_set() -> None:
    refusal = status(400, body={"error": {"message": "this model does not support this tool_choice"}})
    with chaos(refusal, refusal, calling(("final_answer", {"answer": 3}))) as endpoint:
        client = ChatClient("m", base_url=endpoint.url, api_key="", retries=0)
        with pytest.raises(RequestRefused, match=r"unforced.*output_mode"):
            await Agent(client, output=int).run("go")
        with pytest.raises(RequestRefused) as caught:  # nothing is forced here
            await Agent(client).run("go")
        assert "unforced" not in str(caught.value)
        unforced = ChatClient("m", base_url=endpoint.url, api_key="", profile=Profile(unforced=".*"))
        assert (await Agent(unforced, output=int).run("go")).output == 3
    assert endpoint.requests[-1]["tool_choice"] == "auto"
