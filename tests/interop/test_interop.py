"""The runner, with the client that is installed here; the others are run by `python -m tests.interop`."""

import sys
from pathlib import Path

import pytest

from tests.interop.clients.cells import REFUSALS
from tests.interop.conformance import NOT_OFFERED, REVISIONS, Outcome, failed_in, scenarios_in
from tests.interop.conformance import row_of as conformance_row_of
from tests.interop.environments import SCRIPTS, Failed, run
from tests.interop.page import PAGE, rewritten, row_of
from tests.interop.runner import CLIENTS, Row, error_of, tried, verdict
from tests.interop.served_agents import ANSWER


def test_the_official_client(tmp_path: Path) -> None:
    row = tried([sys.executable, str(SCRIPTS / CLIENTS["openai"].script)], str(tmp_path))
    assert row.wrong == []
    assert set(row.cells) == {"text", "stream", "tools", "structured", "typed"}
    assert row.requests == {400: 1, 401: 1, 404: 1, 429: 3, 502: 3}
    assert (
        row_of("openai", row) == f"| openai, Python | {row.version} | yes | yes | yes | yes | yes | 1 | 1 | 1 | 3 | 3 |"
    )


def test_what_is_wrong_is_told() -> None:
    assert verdict("stream", [ANSWER]) == f"streamed {[ANSWER]}"
    assert verdict("text", {"failed": "KeyError: 'x'"}) == "KeyError: 'x'"
    assert verdict("structured", {"city": "Rome"}) == "got {'city': 'Rome'}"
    errors = {400: error_of({"type": "BadRequest", "status": 400}, 400), 401: error_of({"answer": "Hi"}, 401)}
    errors |= {404: error_of({"type": "Error", "status": None}, 404), 429: "RateLimited", 502: "Down"}
    row = Row("1.0", {"text": "", "stream": "no"}, {400: 2, 401: 1, 404: 1, 429: 3, 502: 0}, errors)
    assert row.wrong == [
        "stream: no", "401: answered 'Hi'", "404: Error of status None: None", "400: 2 requests", "502: 0 requests",
    ]  # fmt: skip
    assert row_of("llm", row) == "| llm | 1.0 | yes | no | none | none | none | 2 | no | no | 3 | 0 |"
    with pytest.raises(Failed, match="nothing"):
        run([sys.executable, "-c", "raise SystemExit('nothing')"])


def test_the_page_has_each_client_and_each_revision() -> None:
    page = PAGE.read_text()
    for client in CLIENTS.values():
        assert f"| {client.title} | " in page
        assert (SCRIPTS / client.script).exists()
    for role in NOT_OFFERED:
        for revision in REVISIONS:
            assert f"| {role}, {revision} | " in page
    clients = page.partition("<!-- mcp: begin -->")[0]
    assert "| no |" not in clients
    assert f" {' | '.join(map(str, sorted(REFUSALS.values())))} |" in clients


def test_a_row_is_written_in_the_place_of_the_one_before() -> None:
    page = "A\n<!-- t: begin -->\n\n| N | V |\n|---|---|\n| a | 1 |\n| b | 1 |\n\n<!-- t: end -->\nB\n"
    once = rewritten(page, "t", {"b": "| b | 2 |", "c": "| c | 1 |"})
    assert once == page.replace("| b | 1 |", "| b | 2 |\n| c | 1 |")
    assert rewritten(once, "t", {}) == once


LISTING = """Required for 2026-07-28 (4 scenarios, frozen):

Server scenarios (test against a server):
  - tools-list
  - prompts-list

Client scenarios (test against a client):
  - tools_call
  - auth/metadata-default

Run and reported, but never scored:
  pending (2):
    - json-schema-2020-12 [server]
    - auth/dpop [client]
"""


def test_the_scenarios_of_the_conformance_suite() -> None:
    assert scenarios_in(LISTING, "server") == ["tools-list", "prompts-list", "json-schema-2020-12"]
    assert scenarios_in(LISTING, "client") == ["tools_call", "auth/metadata-default", "auth/dpop"]
    failed = [{"id": name, "status": "FAILURE"} for name in ("sep-2549-prompts-list", "mine", "mine")]
    assert failed_in([[*failed, {"id": "other", "status": "SUCCESS"}]]) == ["mine"]
    assert failed_in([failed[:1]]) == []
    assert failed_in([]) == ["no result"]
    outcome = Outcome(["tools-list"], {"caching": ["mine"]}, ["prompts-list"])
    assert conformance_row_of("server, x", "0.2", outcome) == "| server, x | 0.2 | 1 | `caching` | 1 |"
