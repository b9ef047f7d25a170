"""Hold the validator against the JSON Schema test suite, which the source distribution of `jsonschema` has.

pip download --no-deps --no-binary jsonschema jsonschema && tar xzf jsonschema-*.tar.gz
python -m tests.tools.schema.official_suite jsonschema-*/json/tests/draft2020-12
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentkit.core.errors import ToolDefinitionError
from agentkit.tools.schema.json_schema import JsonValidator


def accepts(validator: JsonValidator, value: object) -> bool:
    try:
        return bool(validator.validate_json(json.dumps(value)) == value)
    except ValidationError:
        return False


def main(folder: Path) -> None:
    verdicts: list[str] = ["right", "let through, as it is not enforced", "wrong", "refused as a schema"]
    counts = dict.fromkeys(verdicts, 0)
    paths = sorted(folder.glob("*.json"))
    if not paths:
        sys.exit(f"there are no cases in {folder}")
    for path in paths:
        for group in json.loads(path.read_text()):
            try:
                validator = JsonValidator(group["schema"], "suite")
            except ToolDefinitionError as error:
                counts["refused as a schema"] += 1
                print(f"{path.name}: {group['description']}: {error}")  # noqa: T201
                continue
            for case in group["tests"]:
                counts[verdict(validator, case)] += 1
                if verdict(validator, case) == "wrong":
                    print(f"{path.name}: {group['description']}: {case['description']}")  # noqa: T201
    print(", ".join([f"{count} {what}" for what, count in counts.items()]))  # noqa: T201
    sys.exit(bool(counts["wrong"]))


def verdict(validator: JsonValidator, case: dict[str, Any]) -> str:
    accepted = accepts(validator, case["data"])
    if accepted == case["valid"]:
        return "right"
    return "let through, as it is not enforced" if accepted and validator.unenforced else "wrong"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
