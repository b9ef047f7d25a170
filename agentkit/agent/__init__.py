"""The agent: a model, tools, a policy and limits, put together and checked once.

`agent` is the public class, `builder` checks and assembles what it was given, `subagents` runs an agent as a tool of
another, `handoffs` passes the conversation on.

May import every room below: `runs`, `tool_choice`, `models`, `sessions`, `tools`, `core`. A new option of an agent is an
argument of `Agent`, a check in `builder` and a field of the run's `Plan`.
"""
