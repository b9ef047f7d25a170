"""JSON Schema from Python signatures and docstrings, and validators for arguments.

`signature` reads a function, `annotations` a type, `docstrings` the descriptions. `callables` looks through partials
and methods. `json_schema` enforces a schema written elsewhere; `strict` rewrites one for strict structured output.

May import only `core`. A new annotation goes to `annotations`, an enforced keyword to `json_schema`.
"""
