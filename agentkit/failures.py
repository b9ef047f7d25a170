"""An endpoint's error, whatever its shape, as one of the library's own."""

from collections.abc import Mapping
from typing import cast

from agentkit._json import decode
from agentkit.errors import AuthenticationFailed, EndpointError, EndpointUnavailable, RateLimited, RequestRefused

_WORDS = 2000
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
    text = body.decode("utf-8", "replace").strip()[:_WORDS]
    said, code = _words(text)
    if 300 <= status < 400:  # noqa: PLR2004 (the redirects of HTTP)
        where = headers.get("location", "nowhere")
        said = f"a redirect to {where!r}, which is not followed; set the base URL to the right one"
    advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
    return _kind(status)(
        f"{url} answered {status}: {said or 'nothing more'}{advice}",
        status=status,
        code=code,
        body=text,
        request_id=headers.get("x-request-id"),
        retry_after=_seconds(headers.get("retry-after")),
    )


def error_inside(data: Mapping[str, object]) -> EndpointError | None:
    """Give the error that came as an answer with status 200, or `None` if the answer is one."""
    error = data.get("error")
    if not error or data.get("choices"):
        return None
    said, code = _of_error(error)
    kind = _kind(int(code)) if code and code.isdecimal() else EndpointError
    return kind(f"the endpoint answered with an error: {said}", status=None, code=code, body=said[:_WORDS])


def _kind(status: int) -> type[EndpointError]:
    if status in (401, 403):
        return AuthenticationFailed
    if status == 429:  # noqa: PLR2004 (Too Many Requests)
        return RateLimited
    if status in (408, 409) or status >= 500:  # noqa: PLR2004 (the server's own errors)
        return EndpointUnavailable
    return RequestRefused


def _words(text: str) -> tuple[str, str | None]:
    """Find what an error's body says: JSON of many shapes, or plain text."""
    try:
        data = decode(text)
    except ValueError:
        return text[:300], None
    if isinstance(data, list) and data:
        data = cast("list[object]", data)[0]
    if not isinstance(data, dict):
        return text[:300], None
    found = cast("dict[str, object]", data)
    return _of_error(found.get("error") or found)


def _of_error(error: object) -> tuple[str, str | None]:
    if not isinstance(error, dict):
        return str(error), None
    fields = cast("dict[str, object]", error)
    said = next((fields[key] for key in ("message", "detail", "error", "msg", "title") if fields.get(key)), fields)
    code = next((fields[key] for key in ("code", "type", "status") if fields.get(key)), None)
    return str(said), None if code is None else str(code)


def _seconds(value: str | None) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        return None
