"""Clients that others wrote, against an agent that is served on a real socket; `python -m tests.interop` runs them all.

Each client is one script in `clients`. It runs in an environment of its own, and prints its results as JSON.
"""
