"""Which packages of a lock file an installation takes, and whether a folder of wheels holds them.

    wheels.py pins LOCK [--training]            their lines of the lock file
    wheels.py unbuilt LOCK FOLDER [--training]  the same, but for those of which FOLDER has a wheel that was built
    wheels.py built LOCK FOLDER [--training]    lines for the wheels in FOLDER that were built, from a locked source
    wheels.py lighten LOCK FOLDER               take the pictures out of Meta-World's wheel in FOLDER
    wheels.py found LOCK FOLDER [--training]    lines to install from FOLDER alone; exit status 2 if it lacks a wheel

`--training` leaves out what training, `verify golden` and the tests of a GPU do without, and what a machine with
PyTorch has already. Run it with the Python that installs: the lines are those for it.
"""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import canonicalize_name, parse_wheel_filename

TRAINING = (
    "gymnasium", "hypothesis", "metaworld", "mujoco", "pydantic", "pytest", "pyyaml", "safetensors", "setuptools",
)  # fmt: skip
"""With what they need; setuptools installs d2r itself."""
LEFT_OUT = (
    "numpy", "scipy", "torch",  # a machine with PyTorch has them
    "pillow", "pyopengl",  # draw
    "etils", "colorama",  # for converters of MuJoCo, and for Windows
)  # fmt: skip
"""They and what only they need are not taken; neither are the pictures in Meta-World's wheel, 34 of its 37 MB."""
BUILT = "built.lock"
"""In a folder of wheels: those that were built from a source, whose hashes no lock file can hold."""


class Pin(NamedTuple):
    """A package of a lock file: what it asks for, its hashes, the packages that need it, and its lines."""

    requirement: Requirement
    hashes: frozenset[str]
    needed_by: frozenset[str]
    lines: str

    @property
    def name(self) -> str:
        """The package."""
        return canonicalize_name(self.requirement.name)


def read_pins(path: Path) -> list[Pin]:
    """The packages of a lock file that this Python takes."""
    pins = []
    for block in re.split(r"\n(?=[^\s#])", path.read_text(encoding="utf-8")):
        if block.startswith("#"):
            continue
        requirement = Requirement(block.partition("\\\n")[0].partition(" #")[0].strip())
        comments = "".join(re.findall(r"^ +#(.*\n?)", block, re.MULTILINE)).replace("via", "", 1)
        needed_by = frozenset(word for word in comments.split() if word[0].isalnum())
        hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
        if requirement.marker is None or requirement.marker.evaluate():
            lines = "\n".join(line for line in block.splitlines() if not line.lstrip().startswith("#"))
            pins.append(Pin(requirement, hashes, needed_by, lines))
    return pins


def for_training(pins: list[Pin]) -> list[Pin]:
    """Those that training needs beside a PyTorch that is there."""
    chosen = set(TRAINING)
    while True:
        needed = {pin.name for pin in pins if pin.needed_by & chosen} - {*LEFT_OUT} - chosen
        if not needed:
            return [pin for pin in pins if pin.name in chosen]
        chosen |= needed


def wheels_of(pin: Pin, folder: Path) -> Iterator[Path]:
    """Wheels of a package in the version of the lock, for this Python."""
    (version,) = pin.requirement.specifier
    tags = set(sys_tags())
    for path in sorted(folder.glob("*.whl")):
        name, found, _, of_wheel = parse_wheel_filename(path.name)
        if name == pin.name and version.contains(found, prereleases=True) and tags & of_wheel:
            yield path


def lighten(wheel: Path) -> Path:
    """Replace a wheel by one without pictures, which tells itself from it by a build number."""
    name, version, rest = wheel.name.split("-", 2)
    light = wheel.with_name(f"{name}-{version}-1nopictures-{rest}")
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(light, "w", zipfile.ZIP_DEFLATED) as lighter:
        for entry in whole.infolist():
            content = whole.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(line for line in lines if ".png," not in line).encode()
            if not entry.filename.endswith(".png"):
                lighter.writestr(entry, content)
    wheel.unlink()
    return light


def sha256(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def built(pins: list[Pin], folder: Path) -> Iterator[str]:
    """A line for each wheel whose hash the lock does not hold."""
    for pin in pins:
        for path in wheels_of(pin, folder):
            if sha256(path) not in pin.hashes:
                yield f"{pin.name}{pin.requirement.specifier} --hash=sha256:{sha256(path)}"


def lines_of_built(folder: Path) -> dict[str, str]:
    """The lines of wheels that were built, by package."""
    note = folder / BUILT
    lines = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
    return {line.partition("==")[0]: line for line in lines if line}


def found(pins: list[Pin], folder: Path) -> Iterator[str]:
    """Lines that install the packages from the folder alone.

    Raises:
        LookupError: if it lacks a wheel; the message names it, and how many more there are.
    """
    of_built = lines_of_built(folder)
    absent = []
    for pin in pins:
        yield of_built.get(pin.name, pin.lines)
        if not any(wheels_of(pin, folder)):
            absent.append(f"{pin.name} {next(iter(pin.requirement.specifier)).version}")
    if absent:
        more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
        version = ".".join(map(str, sys.version_info[:2]))
        raise LookupError(f"{folder}: holds no wheel of {absent[0]} for Python {version}{more}")


def main(arguments: list[str]) -> int:
    """Print the lines that were asked for."""
    training = "--training" in arguments
    task, lock, *rest = [word for word in arguments if word != "--training"]
    pins = read_pins(Path(lock))
    if training:
        pins = for_training(pins)
    folder = Path(*rest)
    try:
        match task:
            case "pins":
                lines = [pin.lines for pin in pins]
            case "lighten":
                (whole,) = folder.glob("metaworld-*-py3-none-any.whl")
                lines = [str(lighten(whole))]
            case "unbuilt":
                lines = [pin.lines for pin in pins if pin.name not in lines_of_built(folder)]
            case "built":
                lines = list(built(pins, folder))
            case _:
                lines = list(found(pins, folder))
    except LookupError as error:
        print(f"wheels.py: {error}; gather it with `make wheelhouse`", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
