"""The command line: `agentkit run`, `chat`, `tools`, `serve`, `replay`, `worker`, `submit` and `runs`."""

from agentkit.core.errors import MissingExtra

try:
    from agentkit.cli.app import app
except ModuleNotFoundError as missing:
    raise MissingExtra(
        "the command line needs the extra `cli`: pip install 'typer>=0.16' 'rich>=14' 'prompt-toolkit>=3.0.50'"
    ) from missing

__all__ = ["app"]
