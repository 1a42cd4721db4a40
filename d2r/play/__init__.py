"""A policy at work: called from Python, or filmed with the route of the moment beside the arm."""
