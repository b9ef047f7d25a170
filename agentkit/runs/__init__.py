"""One run, from its input to its result: the loop, and the parts that it is handed.

`loop` is the heart. `lifecycle` begins and ends a run, `enforcement` holds each reply to the tool choice, `tool_calls`
runs the calls of a reply, `invoke` and `processes` call one function, `recorder` writes to the session, `events` says
what happened.

May import `core`, `tools` and `tool_choice`; it names neither `models` nor `sessions`, only the ports in `core`. A
feature is a value in `plan`, never a branch in `loop`.
"""
