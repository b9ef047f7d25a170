import pytest

from tests.cli.commands import give


@pytest.mark.parametrize("command", ["replay", "view"])
def test_a_stored_run_that_is_missing(command: str) -> None:
    given = give(command, "missing.jsonl")
    assert given.exit_code != 0
    assert "missing.jsonl" in given.stderr
