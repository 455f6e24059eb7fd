"""Facts worth waking someone for, and their delivery."""
