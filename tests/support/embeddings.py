"""Language embeddings of tasks."""

from __future__ import annotations


def mt10_embeddings() -> dict[str, list[float]]:
    names = ["reach", "push", "pick-place", "door-open", "drawer-open", "drawer-close"]
    names += ["button-press-topdown", "peg-insert-side", "window-open", "window-close"]
    return {name: [float(index), 0.5, -1.0] for index, name in enumerate(names)}
