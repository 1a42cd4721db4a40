"""Write a folder of results, whose runs may be unfinished, to the standard output as one compressed archive.

pack.py RESULTS MEGABYTES

In order of worth, and as far as the megabytes go: records and curves of all runs, their policies (of a run that has
not finished, that of its last checkpoint), and their last checkpoints, from which training goes on where the archive
is unpacked. What does not fit is named on the standard error.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors.torch

from d2r.config import RUNS, STATE
from d2r.runs.layout import CHECKPOINT, CONFIG, POLICIES, POLICY
from d2r.tensors import read_state
from d2r.training.checkpoint import Damaged, Manifest, manifest_name, manifests_newest_first

Files = Mapping[str, bytes | Path]
"""What belongs together, by its name in the archive; a path stands for what lies there."""


def small_files(run: Path, results: Path) -> Files:
    """Records and curves, published or growing."""
    files = [path for path in sorted(run.rglob("*")) if path.suffix in (".csv", ".json")]
    return {str(path.relative_to(results)): path for path in files if not path.name.startswith(CHECKPOINT)}


def newest_checkpoint(folder: Path) -> Manifest | None:
    """The manifest of the last checkpoint, none if there is none that can be read."""
    for path in manifests_newest_first(folder):
        try:
            return Manifest.read(path)
        except Damaged:
            continue
    return None


def policy(folder: Path, checkpoint: Manifest, run: Path) -> Files:
    """The actor of a checkpoint, in a file as runs publish them."""
    state = read_state(folder / checkpoint.state)
    if not isinstance(state, dict):
        return {}
    actor = {name: value.contiguous() for name, value in state["learner"]["actor"].items()}
    stated = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    content = safetensors.torch.save(actor, metadata={"config_hash": stated["config_hash"]})
    return {f"{POLICIES}/{run.parent}/{run.name}-step{checkpoint.step}.safetensors": content}


def by_worth(results: Path) -> Iterator[Files]:
    """What there is to take, the most telling first."""
    published = sorted(results.glob(f"{RUNS}/*/*/seed*"))
    states = sorted(results.glob(f"{STATE}/*/*/seed*"))
    for run in (*published, *states):
        yield small_files(run, results)
    for run in published:
        yield {str(path.relative_to(results)): path for path in run.glob(POLICY)}
    checkpoints = [
        (folder, checkpoint)
        for state in states
        for folder in sorted(state.glob("*/"))
        if (checkpoint := newest_checkpoint(folder)) is not None
    ]
    finished = {run.relative_to(results / RUNS) for run in published if (run / POLICY).is_file()}
    for folder, checkpoint in checkpoints:
        run = folder.parent.relative_to(results / STATE)
        if run not in finished:
            yield policy(folder, checkpoint, run)
    for folder, checkpoint in checkpoints:
        names = [*checkpoint.files, manifest_name(checkpoint.step)]
        yield {str((folder / name).relative_to(results)): folder / name for name in names}


def main(results: str, megabytes: str) -> None:
    """Pack what fits."""
    left, taken = 10**6 * int(megabytes), 0
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz") as archive:
        for files in by_worth(Path(results)):
            sizes = {name: _size(content) for name, content in files.items()}
            if sum(sizes.values()) > left:
                size = sum(sizes.values()) / 1e6
                print(f"left out, of {size:.0f} MB: {next(iter(sizes))}", file=sys.stderr)
                continue
            for name, content in files.items():
                _add(archive, name, content)
            left -= sum(sizes.values())
            taken += len(files)
    print(f"packed {taken} files, {int(megabytes) - left / 1e6:.1f} MB before compression", file=sys.stderr)


def _size(content: bytes | Path) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    data = content.read_bytes() if isinstance(content, Path) else content
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
