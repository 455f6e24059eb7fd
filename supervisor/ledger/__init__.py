"""Accounts and holds: one mechanism for every budget."""
