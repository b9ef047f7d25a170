"""Observers of runs: logs, and OpenTelemetry traces and metrics.

An observer is a function that takes one event. `log` writes events to a logger, `otel` turns them into spans (the extra
`otel`, so it is imported as `agentkit.observers.otel`), `gen_ai` has the names of the OpenTelemetry conventions.

May import `runs`, `tools` and `core`. A new observer is a file of its own with one function or class.
"""

from agentkit.observers.log import log_to, once

__all__ = ["log_to", "once"]
