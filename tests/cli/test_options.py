import pytest
import typer

from agentkit.cli import options
from agentkit.cli.exit_codes import ExitCode
from agentkit.cli.targets import Target


@pytest.mark.parametrize(("quiet", "verbose", "level"), [(True, False, -1), (False, False, 0), (False, True, 1)])
def test_how_much_is_shown(quiet: bool, verbose: bool, level: int) -> None:
    assert options.verbosity(quiet=quiet, verbose=verbose) == level


def test_a_target_is_made_of_what_was_given() -> None:
    assert options.target_of("weather.py", "m", "http://127.0.0.1:1/v1") == Target(
        "weather.py", "m", "http://127.0.0.1:1/v1"
    )


def test_a_command_ends_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tools(*given: object, **more: object) -> ExitCode:
        assert (given, more) == (("a",), {"b": 1})
        return ExitCode.PAUSED

    monkeypatch.setattr(options.lazy("agentkit.cli.tools"), "tools", tools)
    with pytest.raises(typer.Exit) as end:
        options.run_command("tools", "tools", "a", b=1)
    assert end.value.exit_code == ExitCode.PAUSED
