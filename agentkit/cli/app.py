"""The commands: what each takes, and what `--help` says of it."""

import sys
from typing import Annotated

import typer

from agentkit.cli.durable_commands import durable_commands
from agentkit.cli.exit_codes import told
from agentkit.cli.options import (
    BaseUrl,
    Json,
    Model,
    Quiet,
    Session,
    ToAgent,
    Traceback,
    Verbose,
    do,
    loaded,
    target_of,
    verbosity,
)

_ABOUT = """Run, try, check and serve agents from the command line.

A TARGET says which agent: file.py, file.py:agent or package.module:agent, where the variable is an agent, or a function
without arguments that gives one. Without a name it is the variable `agent`, or the only agent in the file. The name of
a model (gpt-5, local) is a target too: that model, without tools.
"""
_CODES = """\b
Exit codes:
  0    it went well
  1    the run failed, or a check found errors
  2    what was asked for cannot be done so: arguments, target, settings
  3    the run is paused: calls wait for approval
  130  stopped by Ctrl-C

\b
Where models are:
  AGENTKIT_BASE_URL, AGENTKIT_API_KEY    the endpoint, http://127.0.0.1:8080/v1, and its key
  AGENTKIT_TRACEBACK=1                   as --traceback
  NO_COLOR=1                             no colours; there are none in a pipe
"""

app = typer.Typer(
    name="agentkit",
    help=_ABOUT,
    epilog=_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 (the option's own value)
    if wanted:
        typer.echo(f"agentkit {loaded('importlib.metadata').version('agentkit-tools')}")
        raise typer.Exit


@app.callback()
def begin(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take what stands before the command; the help of it is that of the app."""


@app.command(
    short_help="Run an agent once, and print its answer.",
    epilog="""\b
Examples:
  agentkit run weather.py "Is it raining in Paris?"
  git diff | agentkit run review.py --json | jq -r .output
  agentkit run shop.py --session shop.db:ann "Where is my order?"
  agentkit run shop.py --session shop.db:ann          # goes on where it stopped
  agentkit run weather.py --curl "Hello"              # shows the request, sends nothing
""",
)
def run(  # noqa: PLR0913 (each is an option of the command)
    target: ToAgent,
    prompt: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT", help="What the user says; - or nothing reads it from a pipe.", show_default=False
        ),
    ] = None,
    *,
    model: Model = None,
    base_url: BaseUrl = None,
    session: Session = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Give the whole result as one JSON object: output, stop, usage, messages …")
    ] = False,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Show text as it comes; so it is on a terminal.")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the request, and send nothing.")] = False,
    curl: Annotated[bool, typer.Option("--curl", help="Show the request as a curl command, and send nothing.")] = False,
    traceback: Traceback = False,
) -> None:
    """Run an agent once, and print its answer.

    The answer goes to stdout; tool calls, questions and errors go to stderr. Calls that need approval are asked about
    on a terminal; in a pipe the run pauses there, with exit code 3.
    """
    with told(traceback=traceback):
        once = loaded("agentkit.cli.run")
        order = once.Order(
            target=target_of(target, model, base_url),
            prompt=once.prompt_of(prompt or [], sys.stdin, goes_on=session is not None),
            session=session,
            streamed=stream,
            as_json=as_json,
            verbosity=verbosity(quiet=quiet, verbose=verbose),
            curl=curl,
        )
        raise typer.Exit(loaded("anyio").run(once.show_request if dry_run or curl else once.run, order))


@app.command(
    short_help="Speak with an agent at the terminal.",
    epilog="""\b
Examples:
  agentkit chat weather.py
  agentkit chat shop.py --session shop.db:ann     # kept; the next time it goes on
  agentkit chat local                             # the small model inside the process
""",
)
def chat(  # noqa: PLR0913 (each is an option of the command)
    target: ToAgent,
    *,
    model: Model = None,
    base_url: BaseUrl = None,
    session: Session = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    traceback: Traceback = False,
) -> None:
    """Speak with an agent at the terminal.

    Answers come as they are written, with the tool calls between them. Calls that need approval are asked about: y, n,
    n and a reason, or e to edit the arguments. Ctrl-C stops an answer and keeps the conversation; Ctrl-D leaves.

    \b
    /tools /usage /history       what it can do, what it cost, what was said
    /continue                    go on where it stopped
    /save FILE /clear            write the conversation to a file, or forget it
    /help /quit
    """  # noqa: D301 (the escape keeps the lines apart)
    with told(traceback=traceback):
        do("chat", target_of(target, model, base_url), session, verbosity(quiet=quiet, verbose=verbose))


@app.command(
    short_help="Show an agent's tools, and what is wrong with them.",
    epilog="""\b
Examples:
  agentkit tools weather.py
  agentkit tools weather.py --profile gemini      # what would go wrong there
  agentkit tools weather.py --strict              # for CI: warnings fail too
  agentkit tools weather.py --schema | jq '.[].function.name'
""",
)
def tools(  # noqa: PLR0913 (each is an option of the command)
    target: ToAgent,
    *,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Hold them against an endpoint's dialect: openai, gemini, mistral …"),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Give the full JSON schemas, as models are sent them.")
    ] = False,
    as_json: Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    traceback: Traceback = False,
) -> None:
    """Show an agent's tools: what they take, what they cost in tokens, and what is wrong with them.

    Ends with 1 if there are errors, so that CI can hold to it.
    """
    with told(traceback=traceback):
        do("tools", target_of(target), profile=profile, schema=schema, as_json=as_json, strict=strict)


@app.command(
    short_help="Serve agents to every chat-completions client.",
    epilog="""\b
Examples:
  agentkit serve weather.py
  agentkit serve weather.py shop.py:agent --port 8080
  AGENTKIT_SERVE_KEY=… agentkit serve weather.py --host 0.0.0.0
""",
)
def serve(  # noqa: PLR0913 (each is an option of the command)
    targets: Annotated[
        list[str],
        typer.Argument(metavar="TARGET", help="Which agents; each is a model to clients.", show_default=False),
    ],
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="The port.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="AGENTKIT_SERVE_KEY",
            show_envvar=False,
            help="The key that clients need. Others on this machine may see it here: better in AGENTKIT_SERVE_KEY.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What clients call it; once for each target, in order.")
    ] = None,
    model: Model = None,
    base_url: BaseUrl = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Have a page at / to try the agents with.")] = True,
    traceback: Traceback = False,
) -> None:
    """Serve agents to every chat-completions client, as `POST /v1/chat/completions`."""
    with told(traceback=traceback):
        raise typer.Exit(
            loaded("agentkit.cli.serve").serve(
                [target_of(each, model, base_url) for each in targets],
                names=name or [],
                host=host,
                port=port,
                key=api_key,
                page=page,
            )
        )


@app.command(
    short_help="Show a stored conversation as a story.",
    epilog="""\b
Examples:
  agentkit replay shop.db:ann
  agentkit run weather.py --json "Is it raining?" > result.json; agentkit replay result.json
  agentkit replay tests/cassettes/weather.jsonl --whole
""",
)
def replay(
    file: Annotated[str, typer.Argument(metavar="FILE[:NAME]", help="What was stored.", show_default=False)],
    *,
    whole: Annotated[bool, typer.Option("--whole", help="Show long results to their end.")] = False,
    as_json: Json = False,
    traceback: Traceback = False,
) -> None:
    """Show a stored conversation as a story: who said what, the calls, their answers, and what it cost.

    It reads sessions (SQLite or .jsonl), what `agentkit run --json` gave, what /save wrote, and cassettes.
    """
    with told(traceback=traceback):
        do("replay", file, as_json=as_json, whole=whole)


app.add_typer(durable_commands)
