"""The command line: `agentkit run`, `chat`, `tools`, `serve`, `replay`, `worker`, `submit` and `runs`.

`app` declares the commands and imports the file of each when it is called. `targets` loads the agent of a user's file.
`exit_codes` turns errors into exit codes and one line of text. `live_view` and `transcript` print runs.

May import every room. A new command is a file with one function and an entry in `app`.
"""

from agentkit.core.errors import MissingExtra

try:
    from agentkit.cli.app import app
except ModuleNotFoundError as missing:
    raise MissingExtra(
        "the command line needs the extra `cli`: pip install 'typer>=0.16' 'rich>=14' 'prompt-toolkit>=3.0.50'"
    ) from missing

__all__ = ["app"]
