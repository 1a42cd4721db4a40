"""Files that survive a crash: a file is either its old self or its new self, never something between."""

from __future__ import annotations

import bz2
import errno
import glob
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PART = 2**20
"""Bytes that are unpacked at a time: a small file may hold more than any memory."""
NOT_A_FILE = "is not a regular file"
MOST_BYTES = 4 * 2**30
"""No file that is read as a whole is larger; one that says so may be sparse, and stand for more than any memory."""


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file and return its descriptor; anything else, such as a FIFO that nobody writes to, is refused at once.

    Args:
        path: a link is followed unless ``flags`` hold ``O_NOFOLLOW``.
        flags: as of :func:`os.open`; not ``O_TRUNC``, which would act before the check.

    Raises:
        OSError: if it cannot be opened, or is no regular file.
    """
    try:
        handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and path.is_symlink():
            raise OSError(errno.ELOOP, "is a symbolic link", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, NOT_A_FILE, str(path))
    return handle


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds.

    Raises:
        OSError: if it cannot be read, is no regular file, or has more than ``most`` bytes or than memory holds.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"is larger than {most:,} bytes", str(path))
        try:
            return file.read()
        except MemoryError:
            raise OSError(errno.ENOMEM, "is larger than the memory", str(path)) from None


def read_start(path: Path, most: int) -> bytes:
    """Return the first ``most`` bytes of a regular file, all of them if it has fewer.

    Raises:
        OSError: if it cannot be read, or is no regular file.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read(most)


def is_packed(path: Path) -> bool:
    """Whether a file's name says that its content is packed with bzip2."""
    return path.suffix == ".bz2"


def read_unpacked(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds, unpacked if its name says that it is packed.

    Raises:
        OSError: as :func:`read_bytes`, of the unpacked content, too; or if a packed file is cut off or damaged.
    """
    if not is_packed(path):
        return read_bytes(path, most)
    content = bytearray()
    with os.fdopen(open_regular(path), "rb") as file, bz2.open(file) as unpacked:
        try:
            while len(content) <= most and (part := unpacked.read(PART)):
                content += part
        except EOFError:
            raise OSError(errno.EIO, "is cut off", str(path)) from None
        except MemoryError:
            raise OSError(errno.ENOMEM, "is larger than the memory", str(path)) from None
        except OSError as error:
            if error.errno is None:
                raise OSError(errno.EIO, "is not packed with bzip2", str(path)) from None
            raise
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than {most:,} bytes unpacked", str(path))
    return bytes(content)


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path``, of a name that was not there, that becomes ``path`` at the end.

    Args:
        path: a link in its place is replaced, not followed.
        durable: force it to disk, so that it outlasts a loss of power.

    Raises:
        OSError: if the disk is full or the folder cannot be written; ``path`` is untouched then.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_temporaries(path: Path) -> None:
    """Remove what killed processes left of their writing of ``path``, as far as it can be; nobody may be writing it."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.????????"):  # names as mkstemp makes them
        with suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, data: bytes, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` atomically and, unless told otherwise, durably.

    Raises:
        OSError: as :func:`replacing`.
    """
    with replacing(path, durable) as file:
        file.write(data)


def is_visible_file(path: Path) -> bool:
    """Whether a path is a file and not hidden: editors keep hidden files and dangling links beside what they edit."""
    return not path.name.startswith(".") and path.is_file()


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Hash a regular file.

    Raises:
        OSError: if it cannot be read, or is no regular file.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
