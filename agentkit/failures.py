"""An endpoint's error, whatever its shape, as one of the library's own."""

import re
from collections.abc import Mapping
from math import inf
from typing import NamedTuple, cast

from agentkit._json import decode, encode
from agentkit.errors import AuthenticationFailed, EndpointError, EndpointUnavailable, RateLimited, RequestRefused

_SAID, _WORDS = 500, 2000
_ADVICE: Mapping[int, str] = {
    401: "check the key: AGENTKIT_API_KEY, or ChatClient(…, api_key=…)",
    403: "the key is not allowed to do this",
    404: "check the model's name and the base URL (it usually ends in /v1)",
    413: "the conversation is too long for the endpoint",
}


def endpoint_error(status: int, headers: Mapping[str, str], body: bytes, url: str) -> EndpointError:
    """Make the error for an HTTP status that is not a success.

    Args:
        status: The status.
        headers: The response's headers.
        body: The response's body, or its beginning.
        url: Where the request went.
    """
    text = body.decode("utf-8", "replace").strip()
    said, code, _ = _words(text)
    if 300 <= status < 400:  # noqa: PLR2004 (the redirects of HTTP)
        where = headers.get("location", "nowhere")
        said = f"a redirect to {where!r}, which is not followed; set the base URL to the right one"
    advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
    return _kind(status)(
        f"{url} answered {status}: {said[:_SAID] or 'nothing more'}{advice}",
        status=status,
        code=code,
        body=text[:_WORDS],
        request_id=headers.get("x-request-id"),
        retry_after=_seconds(headers.get("retry-after")),
    )


def error_inside(data: Mapping[str, object]) -> EndpointError | None:
    """Give the error that came as an answer with status 200, or `None` if the answer is one."""
    failed = data.get("error") or data.get("object") == "error"
    return _inside(_of_error(data)) if failed and not data.get("choices") else None


def error_event(data: bytes) -> EndpointError:
    """Make the error for an event of a stream that is named `error`."""
    return _inside(_words(data.decode("utf-8", "replace").strip()))


class _Words(NamedTuple):
    """What an error says."""

    said: str
    code: str | None = None
    number: int | None = None


def _inside(words: _Words) -> EndpointError:
    kind = EndpointError if words.number is None else _kind(words.number)
    said = words.said or "nothing more"
    return kind(
        f"the endpoint answered with an error: {said[:_SAID]}", status=None, code=words.code, body=said[:_WORDS]
    )


def _kind(status: int) -> type[EndpointError]:
    if status in (401, 403):
        return AuthenticationFailed
    if status == 429:  # noqa: PLR2004 (Too Many Requests)
        return RateLimited
    if status in (408, 409) or status >= 500:  # noqa: PLR2004 (the server's own errors)
        return EndpointUnavailable
    return RequestRefused


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
    number = next((int(each) for each in codes if re.fullmatch("[45][0-9][0-9]", each)), None)
    return _Words(_text(said), next((each for each in codes if each), None), number)


def _text(said: object) -> str:
    return said if isinstance(said, str) else encode(said).decode()


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < inf else None
