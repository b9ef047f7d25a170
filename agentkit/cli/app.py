"""The commands: their options and help."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli import options
from agentkit.cli.durable_commands import durable_commands
from agentkit.cli.exit_codes import exit_on_error
from agentkit.cli.options import lazy, run_command, target_of, targets_of, verbosity
from agentkit.cli.stored_commands import stored_commands

_ABOUT = """Run, chat with, check and serve agents from the command line.

A TARGET names an agent: file.py, file.py:agent or package.module:agent. The variable is an agent, or a function without
arguments that returns one. If you name no variable, it is `agent`, or the only agent in the file. The name of a model
(gpt-5, openai:gpt-5, local) is a target too: that model, without tools.
"""
_CODES = """\b
Exit codes:
  0    success
  1    the run failed, or a check found errors
  2    wrong usage: arguments, target or settings
  3    the run is paused: tool calls wait for approval
  130  stopped by Ctrl-C

\b
Environment:
  AGENTKIT_BASE_URL      the endpoint, such as http://127.0.0.1:8080/v1
  AGENTKIT_API_KEY       its key
  AGENTKIT_SERVE_KEY     the key of a served agent, for serve and view
  AGENTKIT_STORE         the store of durable runs
  AGENTKIT_TRACEBACK=1   same as --traceback
  NO_COLOR=1             no colours

\b
Example:
  agentkit run weather.py "Is it raining in Paris?"
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


def _show_version(flag: bool) -> None:  # noqa: FBT001 (the option's own value)
    if flag:
        typer.echo(f"agentkit {lazy('importlib.metadata').version('agentkit-tools')}")
        raise typer.Exit


@app.callback()
def before_command(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Handle the options before the command; the help is that of the app."""


@app.command(
    epilog="""\b
Examples:
  agentkit run weather.py "Is it raining in Paris?"
  git diff | agentkit run review.py "Review this"
  git diff | agentkit run openai:gpt-5 --system "Review it." --json | jq .output
  agentkit run shop.py --session shop.db:ann "Where is my order?"
  agentkit run shop.py --session shop.db:ann    # resumes
  agentkit run weather.py --curl "Hello"  # prints the request, sends nothing
""",
)
def run(  # noqa: PLR0913 (the options of the command)
    target: options.TargetArgument,
    prompt: options.Prompt = None,
    *,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    api_key: options.ApiKey = None,
    system: options.System = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    seed: options.Seed = None,
    reasoning_effort: options.Effort = None,
    session: options.Session = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object: output, stop, usage, messages …")
    ] = False,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Show text as it arrives; the default on a terminal.")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the request, send nothing.")] = False,
    curl: Annotated[bool, typer.Option("--curl", help="Print the request as a curl command, send nothing.")] = False,
    traceback: options.Traceback = False,
) -> None:
    """Run an agent once and print its answer.

    The answer goes to stdout; tool calls, questions and errors go to stderr. If a tool call needs approval, you are
    asked on a terminal; in a pipe the run pauses, with exit code 3.
    """
    with exit_on_error(traceback=traceback):
        to_run = target_of(
            target,
            model,
            base_url,
            api_key=api_key,
            system=system,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=seed,
            reasoning_effort=reasoning_effort,
        )
        text = lazy("agentkit.cli.run").read_prompt(prompt or [], sys.stdin, optional=session is not None)
        run_options = lazy("agentkit.cli.run").RunOptions(
            target=to_run,
            prompt=text,
            session=session,
            streamed=stream,
            as_json=as_json,
            verbosity=verbosity(quiet=quiet, verbose=verbose),
            curl=curl,
        )
        run_command("run", "show_request" if dry_run or curl else "run", run_options)


@app.command(
    epilog="""\b
Examples:
  agentkit chat weather.py
  agentkit chat shop.py --session shop.db:ann  # stored; resumes the next time
  agentkit chat local                          # the small model in this process
  agentkit chat openai:gpt-5 --system "Answer in one sentence." --temperature 0
""",
)
def chat(  # noqa: PLR0913 (the options of the command)
    target: options.TargetArgument,
    *,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    api_key: options.ApiKey = None,
    system: options.System = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    max_tokens: options.MaxTokens = None,
    seed: options.Seed = None,
    reasoning_effort: options.Effort = None,
    session: options.Session = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    traceback: options.Traceback = False,
) -> None:
    """Chat with an agent at the terminal.

    Answers appear as they are written, with the tool calls between them. If a call needs approval, you are asked: y, n,
    n and a reason, or e to edit the arguments. Ctrl-C stops an answer and keeps the conversation; exit, quit or Ctrl-D
    leaves.

    \b
    /tools /usage /history       the agent's tools, the cost, the conversation
    /continue                    resume after an error, Ctrl-C, or a pause
    /save FILE /clear            write the conversation to a file, or delete it
    /help /quit
    """  # noqa: D301 (\b tells click to keep the lines)
    with exit_on_error(traceback=traceback):
        partner = target_of(
            target,
            model,
            base_url,
            api_key=api_key,
            system=system,
            temperature=temperature,
            top_p=top_p,
            max_tokens=max_tokens,
            seed=seed,
            reasoning_effort=reasoning_effort,
        )
        run_command("chat", "chat", partner, session, verbosity(quiet=quiet, verbose=verbose))


@app.command(
    epilog="""\b
Examples:
  agentkit tools weather.py
  agentkit tools weather.py --profile gemini      # would Gemini accept them?
  agentkit tools weather.py --strict              # for CI: warnings fail too
  agentkit tools weather.py --schema | jq '.[].function.name'
""",
)
def tools(  # noqa: PLR0913 (the options of the command)
    target: options.TargetArgument,
    *,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Check against an endpoint's rules: openai, gemini, mistral …"),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schemas, as they are sent.")] = False,
    as_json: options.Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")] = False,
    traceback: options.Traceback = False,
) -> None:
    """List an agent's tools, and check them for problems.

    The list has parameters and estimated tokens. The exit code is 1 if there are errors, for CI.
    """
    with exit_on_error(traceback=traceback):
        run_command("tools", "tools", target_of(target), profile=profile, schema=schema, as_json=as_json, strict=strict)


@app.command(
    name="eval",
    epilog="""\b
Examples:
  agentkit eval cases.py --repeats 5
  agentkit eval shop.py:clerk --cases tests/shop_cases.py --tag refunds
  agentkit eval cases.py --require 0.9 --junit report.xml   # for CI
""",
)
def eval_(  # noqa: PLR0913 (the options of the command)
    target: options.TargetArgument,
    *,
    cases: Annotated[
        str | None,
        typer.Option(metavar="FILE[:NAME]", help="Where the cases are; by default `cases` beside the agent."),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="Run the cases with this tag only.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="How many times each case is run.")] = 1,
    require: Annotated[float, typer.Option(min=0, max=1, help="The share of runs that must pass.")] = 1.0,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Store the outcomes; the same command again resumes.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as JUnit's XML.")] = None,
    as_json: options.Json = False,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    traceback: options.Traceback = False,
) -> None:
    """Run cases several times, and report how often they passed.

    A case says what the agent is asked, and what it is expected to do. The file has a list `cases` of
    agentkit.evals.Case, and usually the agent. The exit code is 1 if fewer runs passed than required.
    """
    with exit_on_error(traceback=traceback):
        run_command(
            "eval",
            "evaluate_cases",
            target_of(target, model, base_url),
            cases=cases,
            tags=tag or [],
            repeats=repeats,
            require=require,
            journal=journal,
            as_json=as_json,
            junit=junit,
        )


@app.command(
    epilog="""\b
Examples:
  agentkit policy shop.py:clerk
  agentkit policy shop.py:clerk --graph svg > clerk.svg
  agentkit policy shop.py:clerk --graph mermaid  # for a page in Markdown
""",
)
def policy(
    target: options.TargetArgument,
    *,
    graph: Annotated[
        str | None,
        typer.Option(metavar="FORM", help="Print the state machine: text, mermaid, dot or svg."),
    ] = None,
    as_json: options.Json = False,
    traceback: options.Traceback = False,
) -> None:
    """Show what an agent's tool_choice policy can do, without a run.

    The report has tools that can never be called, contradictions between parts of the policy, and states from which
    no answer can be reached, each with the shortest history that leads there: "after fetch:ok, then send:error" is a
    run in which fetch succeeded and then send failed. The exit code is 1 if there is any of these, for CI.
    """
    with exit_on_error(traceback=traceback):
        run_command("policy", "policy", target_of(target), graph=graph, as_json=as_json)


@app.command(
    epilog="""\b
Examples:
  agentkit serve weather.py
  agentkit serve weather.py shop.py:agent --port 8080
  agentkit serve weather.py --session chats.db
  agentkit serve weather.py --show-runs  # for agentkit view --live
  AGENTKIT_SERVE_KEY=… agentkit serve weather.py --host 0.0.0.0
""",
)
def serve(  # noqa: PLR0913 (the options of the command)
    targets: options.Targets,
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="The port.")] = 8000,
    api_key: options.ServeKey = None,
    name: options.Names = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep the conversations of the page in an SQLite file, and list them there."),
    ] = None,
    page: Annotated[
        bool,
        typer.Option(
            "--page/--no-page",
            help="Serve a page at / to try the agents. Its user sees tool calls, and approves those that need it.",
        ),
    ] = True,
    show_runs: Annotated[
        bool,
        typer.Option(
            "--show-runs",
            help="Show the runs of all clients to everyone who may use the server: agentkit view --live URL.",
        ),
    ] = False,
    traceback: options.Traceback = False,
) -> None:
    """Serve agents to any chat-completions client.

    Clients use POST /v1/chat/completions, where each agent is a model.
    """
    with exit_on_error(traceback=traceback):
        raise typer.Exit(
            lazy("agentkit.cli.serve").serve(
                targets_of(targets, model, base_url),
                names=name or [],
                host=host,
                port=port,
                key=api_key,
                page=page,
                session=session,
                show_runs=show_runs,
            )
        )


app.add_typer(stored_commands)
app.add_typer(durable_commands)
