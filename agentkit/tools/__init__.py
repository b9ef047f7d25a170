"""A Python function as a tool: its schema, its options, its arguments, and what the model sees of its result.

`tool` has the decorator, `schema` turns signatures and docstrings into JSON Schema, `argument_repair` reads what models
write, `results` and `truncation` turn return values into text, `dependencies` provides what the model does not see.

May import only `core`. An option of `@tool` goes to `options`, a kind of annotation to `schema/annotations`.
"""
