"""The store: one protocol, its drivers, and the statements they run."""
