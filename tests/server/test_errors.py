import json
import logging

import pytest

from agentkit.core.errors import (
    AnswerInvalid,
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    ContextTooLong,
    EndpointUnavailable,
    InvalidRequest,
    LimitReached,
    ModelTimeout,
    QuotaExceeded,
    RateLimited,
    RequestRefused,
)
from agentkit.server.errors import HttpError, error_of_run, invalid_field

SECRET = "http://10.0.0.7 said sk-upstream-1234"

CASES = [
    (RateLimited(SECRET, status=429, retry_after=2.2), 429, "upstream_busy", "3"),
    (RateLimited(SECRET, status=429, retry_after=0), 429, "upstream_busy", "1"),
    (RateLimited(SECRET, status=429), 429, "upstream_busy", "5"), (ModelTimeout(SECRET, 3.0), 504, "upstream_timeout", None),
    (QuotaExceeded(SECRET, status=402), 502, "upstream_error", None),
    (EndpointUnavailable(SECRET, status=503), 502, "upstream_error", None),
    (RequestRefused(SECRET, status=400), 400, "upstream_refused", None), (RequestRefused(SECRET, status=422), 400, "upstream_refused", None),
    (RequestRefused(SECRET, status=None), 400, "upstream_refused", None), (RequestRefused(SECRET, status=404), 502, "upstream_error", None),
    (AuthenticationFailed(SECRET, status=401), 502, "upstream_error", None), (InvalidRequest(SECRET), 400, "upstream_refused", None),
    (ContextTooLong(SECRET, status=400), 400, "context_length_exceeded", None),
    (LimitReached(SECRET, "steps", 30), 500, "limit_reached", None), (LimitReached(SECRET, "seconds", 0.5), 504, "limit_reached", None),
    (ConfigurationError(SECRET), 500, "internal_error", None), (RuntimeError(SECRET), 500, "internal_error", None),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "code", "wait"), CASES)
def test_what_is_behind_the_server_is_for_the_log(
    error: Exception, status: int, code: str, wait: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "agentkit.server"):
        response = error_of_run(error, acted=False, incident="0af1")
    assert (response.status, response.code, response.headers.get("retry-after")) == (status, code, wait)
    assert "10.0.0.7" not in response.body.decode()
    assert "(incident 0af1)" in str(response)
    (record,) = caplog.records
    assert "0af1" in record.message
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_after_tools_had_run_the_client_is_asked_not_to_retry() -> None:
    error = EndpointUnavailable("no", status=503)
    assert error_of_run(error, acted=True, incident="x").headers == {"x-should-retry": "false"}


@pytest.mark.parametrize(("error", "futile"), [
    (EndpointUnavailable("no", status=503), False), (ConnectionFailed("no"), False), (ModelTimeout("no", 1), False), (RuntimeError("no"), False),
    (LimitReached("no", "steps", 3), True), (AuthenticationFailed("no", status=401), True), (QuotaExceeded("no", status=429), True),
    (RequestRefused("no", status=404), True), (AnswerInvalid("no"), True), (ConfigurationError("no"), True),
])  # fmt: skip
def test_a_client_is_asked_not_to_retry_what_would_fail_again(error: Exception, futile: bool) -> None:
    headers = error_of_run(error, acted=False, incident="x").headers
    assert headers == ({"x-should-retry": "false"} if futile else {})


@pytest.mark.parametrize(("status", "kind"), [
    (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"), (404, "invalid_request_error"),
    (429, "rate_limit_error"), (500, "server_error"), (503, "server_error"),
])  # fmt: skip
def test_the_shape_of_an_error(status: int, kind: str) -> None:
    body = json.loads(HttpError(status, "no", param="p", code="c").body)
    assert body == {"error": {"message": "no", "type": kind, "param": "p", "code": "c"}}
    assert json.loads(invalid_field("n", "no").body)["error"]["param"] == "n"
