"""Compile ``kernel.cpp`` and its headers, once for each vector width: ``python d2r/kernel/build.py [c++]``.

Needs nothing but a C++17 compiler and Python's own library. A library is named after its source, so that one of an
older source is never loaded, and ends with the sha256 of all before, so that one that was cut off or damaged is not
either. All are built on any machine; which serves is decided where it is loaded (``library.py``). Without a compiler
that can do it nothing is built, which is no error: PyTorch's operators serve then.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("kernel.cpp")
SOURCES = [*sorted(SOURCE.parent.glob("*.h")), SOURCE]
BUILT = Path(__file__).with_name("built")
SEAL = hashlib.sha256().digest_size
OPTIONS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-Wno-ignored-attributes")
PROCESSORS = {
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"),
    "AVX2": ("-mavx2", "-mfma"),
    "DEFAULT": (),
}
"""PyTorch's levels of CPU capability, and options for the instructions that it asks for; the first two are x86-64's."""


def library(capability: str) -> Path:
    """Where the library of the present source lies for a CPU capability, if it was built."""
    content = b"".join(source.read_bytes() for source in SOURCES) + repr((OPTIONS, PROCESSORS)).encode()
    key = hashlib.sha256(content).hexdigest()[:16]
    return BUILT / f"{key}-{platform.machine()}-{capability.lower()}.so"


def sealed(content: bytes) -> bytes:
    """A library's bytes with their sha256, which no loader looks at."""
    return content + hashlib.sha256(content).digest()


def is_whole(content: bytes) -> bool:
    """Whether these are the bytes of a library as it was built."""
    return len(content) > SEAL and sealed(content[:-SEAL]) == content


def build(compiler: Sequence[str]) -> list[Path]:
    """Compile what is missing or damaged and remove what an older source left; returns the libraries.

    Args:
        compiler: its path, and what else comes before the options.

    Raises:
        subprocess.CalledProcessError: if the compiler fails; what it says is shown.
        OSError: if the compiler wrote nothing, or a library cannot be written.
    """
    BUILT.mkdir(exist_ok=True)
    capabilities = PROCESSORS if platform.machine() == "x86_64" else ("DEFAULT",)
    wanted = [library(capability) for capability in capabilities]
    for capability, target in zip(capabilities, wanted, strict=True):
        if target.is_file() and is_whole(target.read_bytes()):
            continue
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            unfinished = Path(folder) / target.name
            options = (*OPTIONS, *PROCESSORS[capability])
            subprocess.run([*compiler, *options, str(SOURCE), "-o", str(unfinished)], check=True)
            unfinished.write_bytes(sealed(unfinished.read_bytes()))
            unfinished.replace(target)  # at once, so that no process loads half a library
    for old in set(BUILT.glob("*.so")) - set(wanted):
        old.unlink(missing_ok=True)
    return wanted


def main(arguments: list[str]) -> int:
    """Build, and say what was done."""
    name, *rest = shlex.split(arguments[0] if arguments else os.environ.get("CXX", "")) or ["c++"]
    compiler = shutil.which(name)
    instead = "nothing is built, and PyTorch's own operators serve, which are slower for small networks"
    if compiler is None:
        print(f"kernel: no C++ compiler {name}: {instead}")
        return 0
    try:
        built = build([compiler, *rest])
    except subprocess.CalledProcessError:
        print(f"kernel: {compiler} does not compile {SOURCE.name}: {instead}")
        return 0
    except OSError as error:
        print(f"kernel: {error.filename}: {error.strerror}: {instead}")
        return 0
    for path in built:
        print(f"kernel: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
