"""Faults on purpose: kills, full disks, damaged files, hostile input. ``make test-faults`` runs them."""
