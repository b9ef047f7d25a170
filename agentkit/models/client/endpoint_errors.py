"""An endpoint's error, whatever its shape, as one of the library's own."""

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

_SAID, _WORDS, _PAGE = 500, 2000, 10_000
_ADVICE: Mapping[int, str] = {
    401: "check the key: AGENTKIT_API_KEY, or ChatClient(…, api_key=…)",
    403: "the key is not allowed to do this",
    404: "check the model's name and the base URL (it usually ends in /v1)",
    413: "the conversation is too long for the endpoint",
}
_KINDS: Mapping[str, type[EndpointError]] = {
    "insufficient_quota": QuotaExceeded,
    "billing_hard_limit_reached": QuotaExceeded,
    "billing_not_active": QuotaExceeded,
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "invalid_request_error": RequestRefused,
    "invalid_api_key": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "too_many_requests": RateLimited,
    "server_error": EndpointUnavailable,
    "api_error": EndpointUnavailable,
    "internal_error": EndpointUnavailable,
    "internal_server_error": EndpointUnavailable,
    "overloaded_error": EndpointUnavailable,
    "service_unavailable": EndpointUnavailable,
    "timeout_error": EndpointUnavailable,
}
_BY_STATUS: Mapping[int, type[EndpointError]] = {
    401: AuthenticationFailed,
    402: QuotaExceeded,
    403: AuthenticationFailed,
    408: EndpointUnavailable,
    409: EndpointUnavailable,
    413: ContextTooLong,
    429: RateLimited,
}
_TOO_LONG = re.compile("context (?:length|window|size)|prompt is too long|input is too long", re.IGNORECASE)
_MARKUP = re.compile("<(?:style|script).*?</(?:style|script)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


def endpoint_error(status: int, headers: Mapping[str, str], body: bytes, url: str, now: float) -> EndpointError:
    """Make the error for an HTTP status that is not a success.

    Args:
        status: The status.
        headers: The response's headers.
        body: The response's body, or its beginning.
        url: Where the request went.
        now: The time, in seconds since 1970, for a date until when to wait.
    """
    text = _readable(body)
    words = _words(text)
    said = words.said
    if 300 <= status < 400:  # noqa: PLR2004 (the redirects of HTTP)
        where = headers.get("location", "nowhere")
        said = f"a redirect to {where!r}, which is not followed; set the base URL to the right one"
    advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
    return _kind(status, words)(
        f"{url} answered {status}: {said[:_SAID] or 'nothing more'}{advice}",
        status=status,
        code=words.code,
        body=text[:_WORDS],
        request_id=headers.get("x-request-id"),
        retry_after=retry_after(headers, now),
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
    )


def error_inside(data: Mapping[str, object]) -> EndpointError | None:
    """Give the error that came as an answer with status 200, or `None` if the answer is one."""
    failed = data.get("error") or data.get("object") == "error"
    return _inside(_of_error(data)) if failed and not data.get("choices") else None


def error_event(data: bytes) -> EndpointError:
    """Make the error for an event of a stream that is named `error`."""
    return _inside(_words(_readable(data)))


class _Words(NamedTuple):
    """What an error says."""

    said: str
    codes: tuple[str, ...] = ()

    @property
    def code(self) -> str | None:
        return next((each for each in self.codes if each), None)


def _inside(words: _Words) -> EndpointError:
    status = next((int(each) for each in words.codes if re.fullmatch("[45][0-9][0-9]", each)), None)
    said = words.said or "nothing more"
    return _kind(status, words)(
        f"the endpoint answered with an error: {said[:_SAID]}", status=None, code=words.code, body=said[:_WORDS]
    )


def _kind(status: int | None, words: _Words) -> type[EndpointError]:
    """Tell the kind by the status, or by a code that says more; never by the wording, but for what is too long."""
    named = next((_KINDS[each.lower()] for each in words.codes if each.lower() in _KINDS), EndpointError)
    kind = named if status is None or named in (QuotaExceeded, ContextTooLong) else _kind_of(status)
    return ContextTooLong if kind is RequestRefused and _TOO_LONG.search(words.said) else kind


def _kind_of(status: int) -> type[EndpointError]:
    if status >= 500:  # noqa: PLR2004 (the server's own errors)
        return EndpointUnavailable
    return _BY_STATUS.get(status, RequestRefused)


def _readable(body: bytes) -> str:
    """Give an error's body as text; of a web page what a reader sees, without the reader's own address."""
    text = body.decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        return text
    return _ADDRESS.sub("…", " ".join(_MARKUP.sub(" ", text[:_PAGE]).split()))


def _words(text: str) -> _Words:
    """Find what an error's body says: JSON of many shapes, or plain text."""
    try:
        data = decode(text)
    except ValueError:
        return _Words(text[:300])
    return _of_error(data)


def _of_error(error: object) -> _Words:
    if isinstance(error, list):
        return _of_error(next(iter(cast("list[object]", error)), ""))
    if not isinstance(error, dict):
        return _Words(_text(error))
    fields = cast("dict[str, object]", error)
    if isinstance(inner := fields.get("error"), dict | list) and inner:
        return _of_error(cast("object", inner))
    said = next((fields[key] for key in ("message", "detail", "error", "msg", "title") if fields.get(key)), fields)
    codes = [str(fields[key]) for key in ("code", "type", "status") if isinstance(fields.get(key), str | int)]
    return _Words(_text(said), tuple(codes))


def _text(said: object) -> str:
    return said if isinstance(said, str) else encode(said).decode()
