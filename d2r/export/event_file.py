"""TensorBoard's event files, of which scalars need little: a protocol buffer for each step, in frames with checksums.

Sources: ``tensorflow/core/lib/io/record_writer.h`` (frames), ``tensorflow/core/util/event.proto`` and
``tensorflow/core/framework/summary.proto`` (numbers of the fields), and RFC 3720, appendix B.4 (CRC32C).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

FILE_NAME = "events.out.tfevents.d2r"
"""TensorBoard reads files whose names hold ``tfevents``; a folder of them is a run."""

VARINT, EIGHT_BYTES, LENGTH_DELIMITED, FOUR_BYTES = 0, 1, 2, 5
"""How a field of a protocol buffer is written."""
LARGEST = (2 - 2**-23) * 2.0**127
"""Of float32, which is what a scalar is written as."""


def event_file(started: float, steps: Iterable[tuple[int, Mapping[str, float]]]) -> bytes:
    """An event file of scalars.

    Args:
        started: wall time of all events, in seconds since 1970.
        steps: each step, ascending, and the value of each tag there.
    """
    wall_time = _key(1, EIGHT_BYTES) + struct.pack("<d", started)
    events = [wall_time + _bytes(3, b"brain.Event:2")]
    for step, values in steps:
        summary = b"".join(_bytes(1, _scalar(tag, value)) for tag, value in values.items())
        events.append(wall_time + _key(2, VARINT) + _varint(step) + _bytes(5, summary))
    return b"".join(_frame(event) for event in events)


def _scalar(tag: str, value: float) -> bytes:
    in_range = min(max(value, -LARGEST), LARGEST)
    return _bytes(1, tag.encode()) + _key(2, FOUR_BYTES) + struct.pack("<f", in_range)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits to a byte, lowest first; all bytes but the last have the eighth."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _frame(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    """CRC32C, rotated and moved by a constant so that one of bytes that hold checksums is no weaker."""
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(content: bytes) -> int:
    """The CRC of 32 bits with Castagnoli's polynomial.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _OF_A_BYTE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _shifted(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_OF_A_BYTE = [_shifted(byte) for byte in range(256)]
