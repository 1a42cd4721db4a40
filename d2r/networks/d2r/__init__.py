"""Dynamic Depth Routing: ``plain.py`` is the method on one page; the rest computes the same fast, and its variants."""
