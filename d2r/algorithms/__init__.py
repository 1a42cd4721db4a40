"""Multi-task SAC: losses, update, replay, gradient surgery."""
