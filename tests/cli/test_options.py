import pytest
import typer

from agentkit.cli import options
from agentkit.cli.exit_codes import ExitCode
from agentkit.cli.targets import Target


def test_options_are_combined() -> None:
    cases = [(True, False), (False, False), (False, True)]
    assert [options.verbosity(quiet=quiet, verbose=verbose) for quiet, verbose in cases] == [-1, 0, 1]
    assert options.targets_of(["a.py", "b"], "m", "http://x") == [
        Target(name, "m", "http://x") for name in ("a.py", "b")
    ]


def test_a_command_ends_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tools(*given: object, **more: object) -> ExitCode:
        assert (given, more) == (("a",), {"b": 1})
        return ExitCode.PAUSED

    monkeypatch.setattr(options.lazy("agentkit.cli.tools"), "tools", tools)
    with pytest.raises(typer.Exit) as end:
        options.run_command("tools", "tools", "a", b=1)
    assert end.value.exit_code == ExitCode.PAUSED
