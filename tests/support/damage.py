"""Random damage to one file of a folder."""

from __future__ import annotations

import random
from pathlib import Path

KINDS = ("flipped byte", "truncated", "missing", "empty", "swapped", "grown")


def damage_one(folder: Path, generator: random.Random, spare: tuple[str, ...] = ()) -> str:
    """Damage one file at or below ``folder`` and say what was done; files with a name in ``spare`` are left alone."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in spare)
    path = generator.choice(files)
    content = path.read_bytes()
    kind = generator.choice(KINDS)
    if kind == "swapped":
        others = [other for other in files if other.read_bytes() != content]
        kind = kind if others else "missing"
    if not content and kind != "missing":
        kind = "grown"
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "grown":
        path.write_bytes(content + bytes([generator.randrange(256)]))
    elif kind == "truncated":
        path.write_bytes(content[: generator.randrange(len(content))])
    elif kind == "swapped":
        other = generator.choice(others)
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return f"{path.name} and {other.name} swapped"
    else:
        place = generator.randrange(len(content))
        path.write_bytes(
            content[:place] + bytes([content[place] ^ (1 << generator.randrange(8))]) + content[place + 1 :]
        )
    return f"{path.name} {kind}"
