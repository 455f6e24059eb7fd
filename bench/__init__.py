"""Measurements of what performance.md promises; no test asserts on them."""
