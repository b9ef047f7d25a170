"""What only some programs need, or only a run, loaded where it is used: as `ChatClient` of this module.

Whoever names something here must stand above it, as if it were imported.
"""

from agentkit import _lazy

__getattr__, __dir__ = _lazy.face(
    __name__,
    {
        "agentkit.batches": ("Batch", "Inputs", "MapOptions"),
        "agentkit.client": ("ChatClient",),
        "agentkit.delegation": ("performed_within",),
        "agentkit.local": ("LocalModel",),
        "agentkit.models.continuing": ("Continuing",),
        "agentkit.outcomes": ("Batched",),
        "agentkit.performance": ("Given", "beginning", "perform"),
        "agentkit.processes": ("a_process",),
        "agentkit.runs": ("Run", "blocking", "watched"),
    },
)
