"""The agent: a model, tools, a policy and limits, put together and checked once.

`agent` is the public class, `builder` checks its arguments and builds what its plan needs, `subagents` runs an agent as
a tool of another one, `handoffs` passes the conversation on.

May import every room below. A new option of an agent is an argument of `Agent`, a check in `builder` and a field of the
run's `Plan`.
"""
