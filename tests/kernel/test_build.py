"""The compiled library is built where a compiler is, for this source and no other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from d2r.errors import UserError
from d2r.kernel import build, library


def copy_of_sources(folder: Path) -> Path:
    """The folder of the library's sources, as the image's first stage has it: nothing else of the package."""
    kernel = folder / "kernel"
    kernel.mkdir()
    for source in [*build.SOURCES, Path(build.__file__)]:
        shutil.copy(source, kernel)
    return kernel


def run(kernel: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", str(kernel / "build.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_built_anew_when_a_source_changes_and_only_then(tmp_path: Path) -> None:
    kernel, compiler = copy_of_sources(tmp_path), tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nfor last; do :; done\necho "$@" > "$last"\n')
    compiler.chmod(0o755)

    def built() -> dict[str, int]:
        done = run(kernel, str(compiler))
        assert done.returncode == 0, done.stderr
        return {path.name: path.stat().st_mtime_ns for path in (kernel / "built").iterdir()}

    first = built()
    assert first
    assert set(first) <= {build.library(level).name for level in build.PROCESSORS}
    assert built() == first
    with (kernel / "stack.h").open("a") as header:
        header.write("// changed\n")
    changed = built()
    assert len(changed) == len(first)
    assert not set(changed) & set(first)


def test_what_is_built_here_is_of_this_source() -> None:
    """A stale library would leave all that is measured and tested here to PyTorch's operators, unseen."""
    if not build.BUILT.is_dir() or not any(build.BUILT.iterdir()):
        pytest.skip("nothing is built here")
    names = {path.name for path in build.BUILT.iterdir()}
    assert {build.library(level).name for level in build.PROCESSORS} & names, "make .venv builds it anew"


def damage(content: bytes, how: str) -> bytes:
    return {
        "empty": b"",
        "cut off": content[: len(content) // 3],
        "changed": bytes([*content[:-100], content[-100] ^ 1, *content[-99:]]),
        "another's": b"a whole library, but not one of ours" + content[:64],
    }[how]


@pytest.mark.parametrize("how", ["empty", "cut off", "changed", "another's"])
def test_a_damaged_library_is_one_line_and_built_anew(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a library would kill the process that loads it."""
    kernel, compiler = copy_of_sources(tmp_path), tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\nfor last; do :; done\nseq 1000 > "$last"\n')
    compiler.chmod(0o755)
    run(kernel, str(compiler))
    whole = {path: path.read_bytes() for path in kernel.glob("built/*.so")}
    for path, content in whole.items():
        path.write_bytes(damage(content, how))
    library.functions.cache_clear()
    monkeypatch.setattr(library, "library", lambda level: next(iter(whole)))
    with pytest.raises(UserError, match=r"cannot be loaded .*build it again with python .*build\.py"):
        library.functions(torch.float32)
    library.functions.cache_clear()
    run(kernel, str(compiler))
    assert {path: path.read_bytes() for path in kernel.glob("built/*.so")} == whole


def test_a_library_without_our_functions_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = tmp_path / "stranger.so"
    with Path(next(iter(torch.__path__)), "lib/libtorch_global_deps.so").open("rb") as file:
        stranger.write_bytes(build.sealed(file.read()))
    library.functions.cache_clear()
    monkeypatch.setattr(library, "library", lambda level: stranger)
    with pytest.raises(UserError, match=r"stranger\.so: cannot be loaded"):
        library.functions(torch.float32)
    library.functions.cache_clear()


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", "true", "false -m64"])
def test_without_a_compiler_that_can_nothing_is_built_and_nothing_fails(
    tmp_path: Path, compiler: str
) -> None:
    kernel = copy_of_sources(tmp_path)
    done = run(kernel, compiler)
    assert done.returncode == 0
    assert "PyTorch's own operators serve" in done.stdout
    assert not done.stderr
    assert not list(kernel.glob("built/*"))
