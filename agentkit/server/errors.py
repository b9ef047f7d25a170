"""Error responses, in the shape that chat-completions endpoints use."""

import logging
from collections.abc import Mapping
from math import ceil

from agentkit.core.errors import (
    AgentkitError,
    AnswerInvalid,
    AuthenticationFailed,
    ContextTooLong,
    InvalidRequest,
    LimitReached,
    ModelError,
    ModelTimeout,
    QuotaExceeded,
    RateLimited,
    ReplyTooLarge,
    RequestRefused,
    ToolChoiceIgnored,
)
from agentkit.core.json import encode

_log = logging.getLogger("agentkit.server")
_TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_RETRY_AFTER = 5
_NO_RETRY = {"x-should-retry": "false"}
_REFUSED = (400, 413, 422)  # statuses by which an endpoint refuses what the client wrote; others are about the server
_FUTILE = (AuthenticationFailed, QuotaExceeded, RequestRefused, ReplyTooLarge, AnswerInvalid, ToolChoiceIgnored)
_SERVER_ERROR = 500


class HttpError(Exception):
    """A request that fails: `message` is for people, `code` for programs, `param` names the field that is wrong."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The response's body."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= _SERVER_ERROR else "invalid_request_error")
        return encode({"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}})


def invalid_field(param: str, message: str) -> HttpError:
    """Return the error for a field of a request."""
    return HttpError(400, message, param=param)


def error_of_run(error: BaseException, *, acted: bool, incident: str) -> HttpError:
    """Return what the client sees of the error that ended a run: nothing of what is behind the server.

    Args:
        error: The error. The log gets all of it, under the incident's id, which the client sees.
        acted: Whether tools had run. Then the client is asked not to retry by itself, which would run them again. It is
            also where the same request would fail again.
        incident: The id: that of the request.
    """
    futile = isinstance(error, _FUTILE) or (isinstance(error, AgentkitError) and not isinstance(error, ModelError))
    headers = dict(_NO_RETRY) if acted or futile else {}
    incident_note = f"(incident {incident})"
    match error:
        case ContextTooLong():
            code = "context_length_exceeded"
            response = HttpError(
                400, f"the conversation is too long for the model {incident_note}", param="messages", code=code
            )
        case RequestRefused(status=status) if status is None or status in _REFUSED:
            text = f"the model's endpoint refused the request {incident_note}"
            response = HttpError(400, text, code="upstream_refused")
        case InvalidRequest():
            text = f"the model does not take such a request {incident_note}"
            response = HttpError(400, text, code="upstream_refused")
        case RateLimited():
            wait = _RETRY_AFTER if error.retry_after is None else error.retry_after
            headers["retry-after"] = str(max(1, ceil(wait)))
            response = HttpError(429, f"the model's endpoint limits the rate {incident_note}", code="upstream_busy")
        case ModelTimeout():
            response = HttpError(504, f"the model did not answer in time {incident_note}", code="upstream_timeout")
        case ModelError():
            response = HttpError(502, f"the model did not answer {incident_note}", code="upstream_error")
        case LimitReached():
            text = f"the run reached its limit: {error.limit}, {error.allowed:g} {incident_note}"
            response = HttpError(504 if error.limit == "seconds" else 500, text, code="limit_reached")
        case _:
            response = HttpError(500, f"the server failed {incident_note}", code="internal_error")
    response.headers |= headers
    _log.error("incident %s: %s", incident, type(error).__name__, exc_info=error)
    return response
