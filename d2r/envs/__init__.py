"""Meta-World tasks and protocols, exact fast stepping, and the vector environment."""
