"""The command and what surrounds it."""
