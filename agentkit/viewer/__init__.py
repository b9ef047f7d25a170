"""Show runs: one HTML page, with its script, style and data in it, that asks the network for nothing.

`document` turns messages, and what is known of requests and calls, into plain data; `comparison` compares two such
runs; `policy_graph` finds the way of a run through its policy. `page` puts the data into the page; `viewer.js`,
`viewer.css` and `viewer.html` draw it.

May import `core`, `tools` and `tool_choice`. Rooms above load it late, for few programs show runs. What the page shows
of a message or a step is added in `document`, and drawn in `viewer.js`.
"""

from agentkit.viewer.comparison import differences
from agentkit.viewer.document import Json, run_of, step_facts, usage_facts
from agentkit.viewer.page import data_of, masked, page_of
from agentkit.viewer.policy_graph import graph_of

__all__ = ["Json", "data_of", "differences", "graph_of", "masked", "page_of", "run_of", "step_facts", "usage_facts"]
