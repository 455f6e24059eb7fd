"""A worker's life: the loop, the tick, and what a tick is given."""
