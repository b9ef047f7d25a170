"""Wrappers of a model: a model that holds another."""

from agentkit import _lazy

__getattr__, __dir__ = _lazy.face(
    __name__,
    {
        "agentkit.models.continuing": ("Continuing",),
        "agentkit.models.fallback": ("Fallback",),
        "agentkit.models.prompted": ("Prompted",),
        "agentkit.models.text_calls": ("TextCalls",),
        "agentkit.models.trimmed": ("Trimmed",),
    },
)
