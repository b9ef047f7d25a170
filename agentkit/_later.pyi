from agentkit.batches import Batch, Inputs, MapOptions
from agentkit.client import ChatClient
from agentkit.delegation import performed_within
from agentkit.local import LocalModel
from agentkit.models.continuing import Continuing
from agentkit.outcomes import Batched
from agentkit.performance import Given, beginning, perform
from agentkit.processes import a_process
from agentkit.runs import Run, blocking, watched

__all__ = [
    "Batch",
    "Batched",
    "ChatClient",
    "Continuing",
    "Given",
    "Inputs",
    "LocalModel",
    "MapOptions",
    "Run",
    "a_process",
    "beginning",
    "blocking",
    "perform",
    "performed_within",
    "watched",
]
