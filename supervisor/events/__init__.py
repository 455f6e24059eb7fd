"""Append-only facts: their kinds, and the log that keeps them."""
