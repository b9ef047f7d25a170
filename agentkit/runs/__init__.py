"""One run, from its input to its result.

`loop` is the heart. `lifecycle` begins and ends a run, `enforcement` checks each reply against the tool choice,
`tool_calls` runs the calls of a reply, `invoke` and `processes` call one function, `recorder` writes to the session,
`events` are what a run emits, `handle` streams them, `batch` runs many inputs.

May import `core`, `tools` and `tool_choice`. It names neither `models` nor `sessions`, only the ports in `core`. A new
feature is a value in `plan`, never a branch in `loop`.
"""
