"""The training loop, its checkpoints, seeding and metrics."""
