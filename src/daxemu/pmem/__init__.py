"""Persistence: what survives a power failure, recordings of what programs made durable, crash states."""
