"""The rules, and nothing of the world: no I/O, no clock, no logging."""
