"""Built-in workers: each only reads and reports."""
