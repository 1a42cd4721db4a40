"""Checks of what the package claims: golden vectors, environment equality, artifacts."""
