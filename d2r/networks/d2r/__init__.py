"""Dynamic depth routing, the paper's method."""
