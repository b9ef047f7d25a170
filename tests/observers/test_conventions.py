"""Every name that `Spans` emits is one of the conventions; `python -m tests.observers.conventions` asks the newest."""

from pathlib import Path

from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

from tests.observers.conventions import emitted, names_in
from tests.observers.test_otel import FORMER, OFFICIAL


def test_every_name_is_one_of_the_conventions() -> None:
    names = {name for name in emitted() if not name.startswith("agentkit.")}
    metrics = {name for key, name in vars(gen_ai_metrics).items() if key.isupper()}
    assert names <= (OFFICIAL - FORMER) | metrics
    assert len(names) == 39
    assert {"gen_ai.system", "gen_ai.prompt", "gen_ai.usage.prompt_tokens"} <= FORMER


def test_the_names_in_a_clone(tmp_path: Path) -> None:
    registry = tmp_path / "model" / "gen-ai" / "registry.yaml"
    registry.parent.mkdir(parents=True)
    registry.write_text("attributes:\n  - key: gen_ai.a\n    type: string\n  - key: other\n  - name: gen_ai.b.c\n")
    assert names_in(tmp_path) == {"gen_ai.a", "gen_ai.b.c"}
