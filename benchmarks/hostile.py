"""What hostile input does, each kind in a process of its own: `python benchmarks/hostile.py [NAME …] [--code FOLDER]`.

A process has 60 seconds of CPU time and 2 GB of memory. `--code` takes a checkout of another version, such as one of
before the defence, which is then attacked in the same way. Attacks on a served agent are in `attacks.py`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]


def run(code: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the attacks' file with the code of a version."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("hostile_inputs.py")), *arguments]
    with TemporaryDirectory() as first:  # its package alone, with the tests of this version
        Path(first, "agentkit").symlink_to((code / "agentkit").resolve())
        environment = os.environ | {"PYTHONPATH": f"{first}{os.pathsep}{ROOT}"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def outcome_of(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the last line that it printed, or how the process ended."""
    if done.returncode < 0:
        return f"the process died: {signal.Signals(-done.returncode).name}"
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def main() -> None:
    """Attack, and print a row for each."""
    about: dict[str, str] = json.loads(run(ROOT).stdout)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(about))
    parser.add_argument("--code", type=Path, default=ROOT, metavar="FOLDER", help="a checkout of another version")
    options = parser.parse_args()
    if unknown := {*options.names} - about.keys():
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    print("| attack | what happened |\n| --- | --- |")
    for name in options.names or about:
        print(f"| {about[name].rstrip('.')} | {outcome_of(run(options.code, name))} |", flush=True)


if __name__ == "__main__":
    main()
