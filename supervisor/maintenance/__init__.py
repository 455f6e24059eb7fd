"""Periodic children, one duty each."""
