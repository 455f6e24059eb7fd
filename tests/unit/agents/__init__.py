"""The built-in workers."""
