"""A page that follows a run: a small server on this machine, which the page asks for news twice a second.

Only a browser that was told the address can ask: it has a random part, and the name of the host is checked, so that no
page from elsewhere reaches it under a name of its own.
"""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import anyio

from agentkit.core.errors import AgentkitError
from agentkit.viewer import Json, data_of, page_of, run_of

Load: TypeAlias = Callable[[], Awaitable[tuple[list[Json], Json]]]
"""Reads the runs, and what the page shows beside them."""


class LivePage:
    """The page, and its news.

    Args:
        load: Reads the run.
        title: The title of the page.
        files: The files that it is in: unless one of them changed, it is not read again. Without any, it always is.
    """

    def __init__(self, load: Load, title: str, files: Sequence[Path] = ()) -> None:
        self._load, self._title, self._files = load, title, files
        self._lock = Lock()
        self._signature: object = None
        self._version, self._news = 0, ""
        self._path = f"/{token_urlsafe(16)}/"
        self.url = ""

    def server(self, port: int = 0) -> ThreadingHTTPServer:
        """Listen on a port of this machine, any by default, and return the server; `url` is where the page is then."""
        anyio.run(self._load)  # so that what cannot be read is an error of the command
        server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.url = f"http://127.0.0.1:{server.server_port}{self._path}"
        return server

    def page(self) -> str:
        """Return the page, whose script asks for the run."""
        return page_of([run_of(())], title=self._title, live=True)

    def news(self, after: int) -> str | None:
        """Return the run as JSON if it has changed since a version, else `None`."""
        with self._lock:
            signature = [_stat(path) for file in self._files for path in (file, file.with_name(f"{file.name}-wal"))]
            if signature != self._signature or not self._files:
                try:
                    runs, more = anyio.run(self._load)
                except AgentkitError as error:  # such as a file that is being replaced
                    runs, more = [run_of((), error=str(error))], {}
                news = data_of(runs, **more)
                if news != self._news:
                    self._version, self._news = self._version + 1, news
                self._signature = signature
            return None if after == self._version else f'{{"version":{self._version},{self._news[1:]}'

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        live = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                host = (self.headers.get("host") or "").rpartition(":")[0]
                if host not in ("127.0.0.1", "localhost") or not url.path.startswith(live._path):
                    self._answer(HTTPStatus.NOT_FOUND, "there is nothing here", "text/plain")
                elif url.path == live._path:
                    self._answer(HTTPStatus.OK, live.page(), "text/html")
                else:
                    (after, *_) = parse_qs(url.query).get("after", ["0"])
                    news = live.news(int(after) if after.isdecimal() else 0)
                    status = HTTPStatus.NO_CONTENT if news is None else HTTPStatus.OK
                    self._answer(status, news or "", "application/json")

            def _answer(self, status: int, text: str, kind: str) -> None:
                body = text.encode()
                self.send_response(status)
                headers = {
                    "content-type": f"{kind}; charset=utf-8",
                    "cache-control": "no-store",
                    "content-security-policy": "frame-ancestors 'none'",
                    "x-content-type-options": "nosniff",
                }
                if body:
                    headers["content-length"] = str(len(body))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (as it is called)
                """Keep the terminal quiet."""

        return Handler


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
