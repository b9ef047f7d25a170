"""The server of a page that follows a run."""

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentkit import ConfigurationError, SessionError
from agentkit.cli.live_page import LivePage
from tests.viewer import data_in


class Run:
    """A run that changes."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.reads = 0
        self.error: Exception | None = None

    async def load(self) -> Any:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return [{"items": self.items}], {"more": len(self.items)}


@contextmanager
def served(live: LivePage) -> Generator[httpx.Client]:
    with live.server() as server, httpx.Client(base_url=live.url) as client:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield client
        finally:
            server.shutdown()
            thread.join()


def test_the_page_asks_for_news() -> None:
    run = Run()
    live = LivePage(run.load, "shop.db:ann")
    with served(live) as client:
        page = client.get("")
        assert (page.status_code, data_in(page.text)["live"], data_in(page.text)["runs"]) == (
            200,
            True,
            [{"items": []}],
        )
        assert "connect-src" in page.text
        first = client.get("data?after=0").json()
        assert first == {"version": 1, "runs": [{"items": []}], "more": 0}
        assert client.get("data?after=1").status_code == 204
        run.items.append({"kind": "note", "text": "</script>"})
        second = client.get("data?after=1")
        assert second.json() == {"version": 2, "runs": [{"items": run.items}], "more": 1}
        assert second.headers["cache-control"] == "no-store"
        assert client.get("data?after=x").json()["version"] == 2
        run.error = SessionError("it is being written")
        assert client.get("data?after=2").json()["runs"][0]["error"] == "it is being written"


def test_only_who_was_told_the_address_may_ask() -> None:
    live = LivePage(Run().load, "title")
    with served(live) as client:
        assert client.get(httpx.URL(live.url).join("/")).status_code == 404
        assert client.get(httpx.URL(live.url).join("/data?after=0")).status_code == 404
        assert client.get("", headers={"host": "evil.example:80"}).status_code == 404
        assert client.get("", headers={"host": "evil.example"}).status_code == 404
        assert client.get("", headers={"host": "localhost:1"}).status_code == 200


def test_a_file_is_read_again_only_if_it_changed(tmp_path: Path) -> None:
    run, file = Run(), tmp_path / "a.db"
    live = LivePage(run.load, "title", [file])
    assert json.loads(live.news(0) or "")["version"] == 1
    assert live.news(1) is None
    assert run.reads == 1
    for path in (file, tmp_path / "a.db-wal"):
        path.write_text("more")
        assert live.news(1) is None
    assert run.reads == 3


def test_what_cannot_be_read_at_first_is_an_error() -> None:
    run = Run()
    run.error = ConfigurationError("there is no such file")
    with pytest.raises(ConfigurationError):
        LivePage(run.load, "title").server()
