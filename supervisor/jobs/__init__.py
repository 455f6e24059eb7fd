"""Durable queued work: enqueued once a key, claimed under a lease, ended by its token."""
