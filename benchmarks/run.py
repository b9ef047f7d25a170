"""Measures agentkit beside loops that are written by hand, and beside other frameworks if they are named.

    uv run python benchmarks/run.py                       # all measures; prints the table
    uv run python benchmarks/run.py --measures turn,chunks --rounds 5
    uv run python benchmarks/run.py --peers agentkit,httpx,openai-agents
    uv run python benchmarks/run.py --clean --write       # all there are; rewrites docs/performance.md too
    AGENTKIT_BEFORE=../old uv run python benchmarks/run.py --clean --peers agentkit,before,httpx  # two checkouts

Each measure of each peer is a process of its own, against a fake endpoint that is another; rounds alternate over the
peers. Shown are the medians of the rounds. A budget that names a peer is held against the median of the ratios within
rounds, so that a busy machine disturbs both alike. With --check, a budget that is exceeded ends with 1.
"""

import argparse
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from measures import MEASURES, Numbers
from peers import CLEAN, FRAMEWORKS, PEERS, USUAL
from report import Results, exceeded, medians, plot, rewritten, tables

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
PLOT = HERE.parent / "docs" / "performance.svg"
SECONDS = 600


@contextmanager
def endpoint() -> Generator[str]:
    """Run the fake endpoint, and give its address."""
    command = [sys.executable, str(HERE / "server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 (our own file)
        port = server.stdout.readline().strip() if server.stdout else ""
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@cache
def python_for(packages: tuple[str, ...]) -> str:
    """Return an interpreter that has these packages and no others, in an environment that uv makes."""
    home = Path(tempfile.mkdtemp(prefix="agentkit-benchmarks-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    python = str(home / ("Scripts" if os.name == "nt" else "bin") / "python")
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` says which one it is
    if uv is None:
        sys.exit("an environment for each peer is made by uv, which is not installed: pip install uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)  # noqa: S603
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    # uv keeps what it built from a folder, whether the folder has changed or not.
    install += ["--refresh-package=agentkit-tools", "--refresh-package=agentkit"]
    if packages:
        subprocess.run([*install, *packages], check=True)  # noqa: S603
    return python


def measured(name: str, measure: str, address: str, *, tiny: bool, clean: bool) -> Numbers | None:
    """Measure a peer in a process of its own; without a number if it fails, which is told."""
    entry = PEERS[name]
    python = sys.executable if entry.here and not clean else python_for(entry.packages)
    command = [python, str(HERE / "worker.py"), name, measure, address, *(["tiny"] if tiny else [])]
    with subprocess.Popen(  # noqa: S603 (our own file)
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            out, err = "", f"it took more than {SECONDS} s"
    if process.returncode:
        print(f"{name}, {measure}: {' '.join(err.strip().splitlines()[-1:])}", file=sys.stderr)
        return None
    numbers: Numbers = json.loads(out.splitlines()[-1])
    return numbers


def versions(peers: list[str]) -> dict[str, str]:
    """Return the versions of the other frameworks."""
    found: dict[str, str] = {}
    for name in [peer for peer in peers if peer in FRAMEWORKS]:
        packages = PEERS[name].packages
        ask = f"from importlib.metadata import version; print(version({packages[0].partition('[')[0]!r}))"
        done = subprocess.run([python_for(packages), "-c", ask], capture_output=True, text=True, check=True)  # noqa: S603
        found[name] = done.stdout.strip()
    return found


def results(  # noqa: PLR0913 (the options of the command)
    peers: list[str], measures: list[str], rounds: int, *, tiny: bool, clean: bool, kept: Path | None = None
) -> Results:
    """Measure all of these; what is measured so far is kept in a file, for `--onto` after an interruption."""
    found: Results = {}
    with endpoint() as address:
        for measure in measures:
            found[measure] = []
            for _ in range(rounds * MEASURES[measure].rounds):
                row = {name: measured(name, measure, address, tiny=tiny, clean=clean) for name in peers}
                found[measure].append({name: numbers for name, numbers in row.items() if numbers is not None})
            told = {name: round(numbers["main"], 2) for name, numbers in medians(found[measure]).items()}
            print(f"{measure}: {told}", file=sys.stderr, flush=True)
            if kept is not None:
                kept.write_text(json.dumps(found, indent=1) + "\n")
    return found


def main() -> None:
    """Read the command line, measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--measures", default=",".join(MEASURES), help="the default is all of them")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try a new peer")
    parser.add_argument("--clean", action="store_true", help="give each an environment of its own, made by uv")
    parser.add_argument("--json", type=Path, help="also write all numbers to this file, after each measure")
    parser.add_argument("--svg", type=Path, help="also plot the growth to this file")
    parser.add_argument("--onto", type=Path, help="take what is not measured now from such a file of numbers")
    parser.add_argument("--write", action="store_true", help="rewrite the table and the plot of the documentation")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a budget is exceeded")
    given = parser.parse_args()
    peers = given.peers.split(",") if given.peers else [*(CLEAN if given.clean else USUAL)]
    measures = given.measures.split(",")
    found = results(peers, measures, given.rounds, tiny=given.tiny, clean=given.clean, kept=given.json)
    if given.onto:
        before: Results = json.loads(given.onto.read_text())
        found = {measure: {**before, **found}[measure] for measure in MEASURES if measure in before or measure in found}
    print(tables(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    for path in [given.svg] if given.svg else []:
        path.write_text(plot(medians(found["growth"])))
    if given.write:
        PAGE.write_text(rewritten(PAGE.read_text(), found, versions(peers)))
        if "growth" in found:
            PLOT.write_text(plot(medians(found["growth"])))
    if given.check and (wrong := exceeded(found)):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
