"""Sub-agents and hand-offs that pay, killed at every point of the run: nothing is paid twice.

The long form, every point under every policy: `ATTACK=1000 pytest tests/attack/test_nested.py`.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from signal import SIGKILL
from tempfile import TemporaryDirectory

from tests.attack.nested import STORES, WAYS
from tests.endpoint import Json
from tests.programs import PATIENCE, started
from tests.promises.once import POLICIES
from tests.promises.test_once import MEMORY, ROOT

EFFECTS = {"pay 1", "pay 2", "send a"}
EACH = max(1, 1501 // int(os.environ.get("ATTACK", "60")) // 3 * 3 + 1)  # no multiple of 3, the number of policies


def test_wherever_it_is_killed_a_sub_agent_pays_once() -> None:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        command = [sys.executable, "-m", "tests.attack.nested", folder, str(EACH)]
        with started(command, cwd=ROOT, stdout=subprocess.PIPE) as sweep:
            lines = sweep.communicate(timeout=PATIENCE)[0].splitlines()
            assert sweep.returncode == 0
    runs: list[Json] = [json.loads(line) for line in lines]
    assert [{run[what] for run in runs} for what in ("way", "store", "policy")] == [{*WAYS}, {*STORES}, {*POLICIES}]
    assert {run["ended"] for run in runs} <= {-SIGKILL, 0}
    assert sum(run["ended"] == -SIGKILL for run in runs) > len(runs) * 0.8
    for run in runs:
        effects = Counter(effect for effect, _ in run["effects"])
        assert max(effects.values(), default=0) <= 1, run
        # What had not started when the process died happens, and with a service that knows the key, all does.
        assert {*effects} >= (EFFECTS if run["policy"] == "again" else EFFECTS - {*run["started"]}), run
        assert {*run["before"]} <= {*effects}
    assert sum(bool(run["started"]) for run in runs) > len(runs) // 20
