"""Client scripts. Each runs in an environment of its own, beside `cells`; see `tests/interop/__init__.py`."""
