import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.errors import (
    AgentkitError,
    AuthenticationFailed,
    EndpointError,
    EndpointUnavailable,
    RateLimited,
    RequestRefused,
)
from agentkit.failures import endpoint_error, error_event, error_inside

URL = "https://a.b/v1/chat/completions"


def failed(status: int, body: Any = b"", **headers: str) -> EndpointError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return endpoint_error(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, URL)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, AuthenticationFailed) for status in (401, 403)],
        *[(status, RequestRefused) for status in (301, 302, 304, 307, 308, 400, 402, 404, 405, 413, 418, 422, 499)],
        (429, RateLimited),
        *[(status, EndpointUnavailable) for status in (408, 409, 500, 501, 502, 503, 504, 529, 599)],
    ],
)
def test_each_status_has_its_class(status: int, kind: type[EndpointError]) -> None:
    error = failed(status, {"error": {"message": "so it is", "code": "c"}}, x_request_id="r1")
    assert type(error) is kind
    assert (error.status, error.code, error.request_id, error.retry_after) == (status, "c", "r1", None)
    assert str(error).startswith(f"{URL} answered {status}: ")


@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        (
            {"error": {"message": "No such model.", "type": "invalid_request_error", "code": "model_not_found"}},
            "No such model.",
            "model_not_found",
        ),
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
        (b"<html>\n<title>502 Bad Gateway</title>\n</html>", "<html>\n<title>502 Bad Gateway</title>\n</html>", None),
        (b'{"error": {"message": "cut', '{"error": {"message": "cut', None),
        (b"\xff\xfe", "\ufffd\ufffd", None),
        (b'{"error": "\\ud800"}', "\ufffd", None),
        (b"[" * 500, "[" * 300, None),
    ],
)
def test_what_the_endpoint_says_is_found_in_any_shape(body: Any, said: str, code: str | None) -> None:
    error = failed(400, body)
    assert str(error) == f"{URL} answered 400: {said}"
    assert error.code == code
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert error.body == raw.decode("utf-8", "replace").strip()


def test_what_is_kept_of_a_long_body_is_bounded() -> None:
    error = failed(500, {"error": {"message": "x" * 9000}})
    assert str(error) == f"{URL} answered 500: {'x' * 500}"
    assert len(error.body) == 2000
    assert len(str(failed(500, b"<html>" + b"x" * 9000))) < 400


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "AGENTKIT_API_KEY"), (403, "not allowed"), (404, "usually ends in /v1"), (413, "too long for the endpoint")],
)
def test_where_there_is_something_to_do_the_error_says_it(status: int, advice: str) -> None:
    assert f": No.; {str(failed(status, {'error': 'No.'})).rpartition('; ')[2]}" in str(
        failed(status, {"error": "No."})
    )
    assert advice in str(failed(status, {"error": "No."}))


def test_a_redirect_says_where_to() -> None:
    error = failed(308, b"<html>Moved</html>", location="https://b.c/v1")
    assert (
        str(error)
        == f"{URL} answered 308: a redirect to 'https://b.c/v1', which is not followed; set the base URL to the right one"
    )
    assert "a redirect to 'nowhere'" in str(failed(304))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("0", 0.0), ("1.5", 1.5), (" 2 ", 2.0)]
    + [(odd, None) for odd in ("", "soon", "-1", "nan", "inf", "-inf", "Wed, 21 Oct 2015 07:28:00 GMT")],
)
def test_how_long_to_wait(header: str, seconds: float | None) -> None:
    assert failed(429, retry_after=header).retry_after == seconds


INSIDE: list[tuple[dict[str, Any], type[EndpointError], str, str | None]] = [
    ({"error": {"message": "No.", "code": 429}}, RateLimited, "No.", "429"),
    ({"error": {"message": "No.", "code": "401"}}, AuthenticationFailed, "No.", "401"),
    (
        {"error": {"message": "No.", "type": "server_error", "code": 500}, "choices": []},
        EndpointUnavailable,
        "No.",
        "500",
    ),
    ({"error": {"message": "No.", "code": "busy", "status": 503}}, EndpointUnavailable, "No.", "busy"),
    ({"error": {"message": "No.", "code": 400}}, RequestRefused, "No.", "400"),
    ({"error": {"message": "No.", "code": 200}}, EndpointError, "No.", "200"),
    ({"error": {"message": "No.", "code": 7}}, EndpointError, "No.", "7"),
    ({"error": {"message": "No.", "code": "9" * 5000}}, EndpointError, "No.", "9" * 5000),
    ({"error": {"message": "No.", "code": "server_error"}}, EndpointError, "No.", "server_error"),
    ({"error": "STREAM_EXPLODED"}, EndpointError, "STREAM_EXPLODED", None),
    ({"error": ["a", "b"]}, EndpointError, "a", None),
    ({"error": [[]]}, EndpointError, "nothing more", None),
    ({"error": {"x": 1}}, EndpointError, '{"x":1}', None),
    ({"error": True}, EndpointError, "true", None),
    ({"object": "error", "message": "No.", "code": 500}, EndpointUnavailable, "No.", "500"),
]


@pytest.mark.parametrize(
    ("data", "kind", "said", "code"),
    INSIDE,
)
def test_an_error_inside_an_answer(
    data: dict[str, Any], kind: type[EndpointError], said: str, code: str | None
) -> None:
    error = error_inside(data)
    assert isinstance(error, EndpointError)
    assert type(error) is kind
    assert str(error) == f"the endpoint answered with an error: {said}"
    assert (error.status, error.code, error.body) == (None, code, said)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"choices": []},
        {"error": None},
        {"error": {}},
        {"error": ""},
        {"error": {"message": "No."}, "choices": [{"index": 0}]},
        {"object": "chat.completion"},
    ],
)
def test_an_answer_is_no_error(data: dict[str, Any]) -> None:
    assert error_inside(data) is None


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b'{"message":"upstream died"}', EndpointError, "upstream died"),
        (b'{"error":{"message":"busy","code":503}}', EndpointUnavailable, "busy"),
        (b"upstream died", EndpointError, "upstream died"),
        (b"", EndpointError, "nothing more"),
        (b"\xff", EndpointError, "\ufffd"),
    ],
)
def test_an_event_named_error_is_one_whatever_it_holds(data: bytes, kind: type[EndpointError], said: str) -> None:
    error = error_event(data)
    assert type(error) is kind
    assert str(error) == f"the endpoint answered with an error: {said}"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "status", "detail", "object", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.integers(300, 599), JSON.map(lambda data: json.dumps(data).encode()) | st.binary(max_size=30))
def test_every_body_makes_an_error(status: int, body: bytes) -> None:
    assert isinstance(failed(status, body), AgentkitError)
    assert isinstance(error_event(body), AgentkitError)


@given(st.dictionaries(st.sampled_from(["error", "object", "choices", "message"]), JSON))
def test_whatever_an_answer_holds_it_is_an_error_or_not(data: dict[str, Any]) -> None:
    error = error_inside(data)
    assert error is None or len(str(error)) < 1000
