"""An endpoint's error, whatever its shape, as one of agentkit's exceptions.

The HTTP status decides the class, or a code in the body that says more. The wording never does, with one exception:
few endpoints have a code for a conversation that is too long.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, cast

from agentkit.core.errors import (
    AuthenticationFailed,
    ContextTooLong,
    EndpointError,
    EndpointUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRefused,
)
from agentkit.core.json import decode, encode
from agentkit.models.client.rate_headers import retry_after

_MAX_MESSAGE, _MAX_BODY, _MAX_PLAIN_TEXT, _MAX_PAGE = 500, 2000, 300, 10_000
_ADVICE: Mapping[int, str] = {
    401: "check the key: AGENTKIT_API_KEY, or ChatClient(…, api_key=…)",
    403: "the key is not allowed to do this",
    404: "check the model's name and the base URL (it usually ends in /v1)",
    413: "the conversation is too long for the endpoint",
}
_REFUSALS = (400, 422)
_UNFORCED = (
    "if the model refuses a forced tool choice, have it sent as `auto`, which agentkit enforces itself: "
    'ChatClient(…, profile=Profile(unforced=".*")), or `replace` it in the profile that you use; or have a structured '
    'output come as text: Agent(…, output_mode="format")'
)
_CODES: Mapping[type[EndpointError], str] = {
    QuotaExceeded: "insufficient_quota billing_hard_limit_reached billing_not_active",
    ContextTooLong: "context_length_exceeded exceed_context_size_error",
    RequestRefused: "invalid_request_error",
    AuthenticationFailed: "invalid_api_key authentication_error permission_error",
    RateLimited: "rate_limit_exceeded rate_limit_error too_many_requests",
    EndpointUnavailable: "server_error api_error internal_error internal_server_error overloaded_error "
    "service_unavailable timeout_error",
}
_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
_BY_STATUS: Mapping[int, type[EndpointError]] = {
    401: AuthenticationFailed,
    402: QuotaExceeded,
    403: AuthenticationFailed,
    408: EndpointUnavailable,
    409: EndpointUnavailable,
    413: ContextTooLong,
    429: RateLimited,
}
_TOO_LONG = "(?i)context (?:length|window|size)|prompt is too long|input is too long"
_MARKUP = "(?is)<(?:style|script).*?</(?:style|script)>|<[^>]*>"
_IP_ADDRESS = r"\b\d{1,3}(?:\.\d{1,3}){3}\b"


def endpoint_error(  # noqa: PLR0913 (what the error says)
    status: int, headers: Mapping[str, str], body: bytes, url: str, now: float, *, forced: bool = False
) -> EndpointError:
    """Return the error for an HTTP status that is not a success.

    Args:
        status: The status.
        headers: The headers of the response.
        body: The beginning of its body.
        url: Where the request went.
        now: The time, in seconds since 1970.
        forced: Whether the request had a tool choice that forces a call, which some models refuse.
    """
    text = _readable_text(body)
    details = _details_in_body(text)
    message = details.message
    if 300 <= status < 400:  # noqa: PLR2004 (the redirects of HTTP)
        target = headers.get("location", "nowhere")
        message = f"a redirect to {target!r}, which is not followed; set the base URL to the right one"
    advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
    if forced and status in _REFUSALS and re.search("(?i)tool.?choice", details.message):
        advice = f"; {_UNFORCED}"
    return _error_class(status, details)(
        f"{url} answered {status}: {message[:_MAX_MESSAGE] or 'nothing more'}{advice}",
        status=status,
        code=next(iter(details.codes), None),
        body=text[:_MAX_BODY],
        request_id=headers.get("x-request-id"),
        retry_after=retry_after(headers, now),
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
    )


def error_inside(data: Mapping[str, object]) -> EndpointError | None:
    """Return the error in a reply with status 200, if it is one."""
    failed = data.get("error") or data.get("object") == "error"
    return _error_in_reply(_details(data)) if failed and not data.get("choices") else None


def error_event(data: bytes) -> EndpointError:
    """Return the error for an event of a stream that is named `error`."""
    return _error_in_reply(_details_in_body(_readable_text(data)))


class _Details(NamedTuple):
    message: str
    codes: tuple[str, ...] = ()


def _error_in_reply(details: _Details) -> EndpointError:
    status = next((int(code) for code in details.codes if re.fullmatch("[45][0-9][0-9]", code)), None)
    message = details.message or "nothing more"
    return _error_class(status, details)(
        f"the endpoint answered with an error: {message[:_MAX_MESSAGE]}",
        status=None,
        code=next(iter(details.codes), None),
        body=message[:_MAX_BODY],
    )


def _error_class(status: int | None, details: _Details) -> type[EndpointError]:
    kind = next((_BY_CODE[code.lower()] for code in details.codes if code.lower() in _BY_CODE), EndpointError)
    if status is not None and kind not in (QuotaExceeded, ContextTooLong):
        # Every 5xx is a failure of the server's own.
        kind = EndpointUnavailable if status >= 500 else _BY_STATUS.get(status, RequestRefused)  # noqa: PLR2004
    return ContextTooLong if kind is RequestRefused and re.search(_TOO_LONG, details.message) else kind


def _readable_text(body: bytes) -> str:
    """Return a body as text; of a web page, what a reader sees, without the IP addresses that error pages show."""
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        return text
    return re.sub(_IP_ADDRESS, "…", " ".join(re.sub(_MARKUP, " ", text[:_MAX_PAGE]).split()))


def _details_in_body(text: str) -> _Details:
    try:
        return _details(decode(text))
    except ValueError:
        return _Details(text[:_MAX_PLAIN_TEXT])


def _details(error: object) -> _Details:
    """Find the message and the codes of an error: endpoints nest them in objects and lists of many shapes."""
    if isinstance(error, list):
        return _details(next(iter(cast("list[object]", error)), ""))
    if not isinstance(error, dict):
        return _Details(_as_text(error))
    fields = cast("dict[str, object]", error)
    if isinstance(inner := fields.get("error"), dict | list) and inner:
        return _details(cast("object", inner))
    message = next((fields[key] for key in ("message", "detail", "error", "msg", "title") if fields.get(key)), fields)
    codes = [str(code) for key in ("code", "type", "status") if isinstance(code := fields.get(key), str | int)]
    return _Details(_as_text(message), tuple(filter(None, codes)))


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else encode(value).decode()
