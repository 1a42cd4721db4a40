"""The protocol of success rates."""
