"""Event files hold what runs recorded, framed and checked as TensorBoard reads them."""

from __future__ import annotations

import csv
import os
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from d2r.cli.main import main
from d2r.export.event_file import crc32c, event_file
from tests.support.synthetic import Plan

Make = Callable[[Plan], Path]
PLAN = Plan(
    benchmarks=("mt10-rand",),
    levels={"d2r": 0.6, "mtsac": 0.3},
    seeds=(1, 2),
    failed=[("mt10-rand", "mtsac", 2)],
)


@pytest.mark.parametrize(
    ("content", "crc"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)
def test_checksums_are_those_that_the_standard_prints(content: bytes, crc: int) -> None:
    """RFC 3720, B.4: 32 bytes of zeros, of ones, and ascending."""
    assert crc32c(content) == crc


def frames(content: bytes) -> Iterator[bytes]:
    """Records of an event file, bit by bit: a length, its checksum, so many bytes, and their checksum."""

    def slow_checksum(data: bytes) -> int:
        crc = 0xFFFFFFFF
        for bit in (byte >> place & 1 for byte in data for place in range(8)):
            crc = crc >> 1 ^ (0x82F63B78 if (crc ^ bit) & 1 else 0)
        crc ^= 0xFFFFFFFF
        return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32

    while content:
        length, check = struct.unpack_from("<QI", content)
        assert check == slow_checksum(content[:8])
        record, content = content[12 : 12 + length], content[12 + length :]
        assert struct.unpack_from("<I", content) == (slow_checksum(record),)
        content = content[4:]
        yield record


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Fields of a protocol buffer: number and value."""

    def varint() -> int:
        nonlocal message
        value = shift = 0
        while True:
            byte, message = message[0], message[1:]
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while message:
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            yield number, varint()
        elif kind == 2:
            size = varint()
            yield number, message[:size]
            message = message[size:]
        else:
            form = {1: "<d", 5: "<f"}[kind]
            yield number, struct.unpack_from(form, message)[0]
            message = message[struct.calcsize(form) :]


def read_events(content: bytes) -> tuple[dict[str, dict[int, float]], set[float]]:
    """Scalars by tag and step, and the wall times."""
    first, *events = [dict(fields(record)) for record in frames(content)]
    assert first[3] == b"brain.Event:2"
    scalars: dict[str, dict[int, float]] = defaultdict(dict)
    for event in events:
        for number, value in fields(event[5]):
            assert number == 1
            scalar = dict(fields(value))
            scalars[scalar[1].decode()][event[2]] = scalar[2]
    return scalars, {event[1] for event in events}


def test_every_number_of_every_run_is_there(
    make_results: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = make_results(PLAN), tmp_path / "events"
    assert main(["export", "tensorboard", "--results", str(folder), "-o", str(output)]) == 0
    assert "4 runs" in capsys.readouterr().out
    files = sorted(path for path in output.rglob("*") if path.is_file())
    assert [path.parent.relative_to(output).as_posix() for path in files] == [
        f"mt10-rand/{method}/seed{seed}" for method in ("d2r", "mtsac") for seed in (1, 2)
    ]
    for path in files:
        assert "tfevents" in path.name
        scalars, _ = read_events(path.read_bytes())
        with (folder / "runs" / path.parent.relative_to(output) / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        means: dict[tuple[str, int], list[float]] = defaultdict(list)
        for row in rows:
            step, value = int(row["step"]), float(row["value"])
            tag = f"{row['quantity']}/{row['task']}" if row["task"] else row["quantity"]
            assert scalars[tag].pop(step) == pytest.approx(value, rel=1e-6)
            if row["task"]:
                means[f"{row['quantity']}/mean", step].append(value)
        for (tag, step), values in means.items():
            assert scalars[tag].pop(step) == pytest.approx(sum(values) / len(values), rel=1e-6)
        assert not any(scalars.values()), "and nothing else"


def test_steps_wall_times_and_numbers_of_any_size_are_kept() -> None:
    steps = {step: {"tag": 1.0} for step in (0, 127, 128, 300, 10**12)}
    scalars, times = read_events(event_file(1e9, steps.items()))
    assert scalars == {"tag": dict.fromkeys(steps, 1.0)}
    assert times == {1e9}
    (largest,) = read_events(event_file(0.0, [(1, {"tag": 3.5e38})]))[0]["tag"].values()
    assert largest == pytest.approx(3.4028235e38)
    assert read_events(event_file(0.0, []))[0] == {}


def test_events_are_of_the_day_on_which_the_run_began(make_results: Make, tmp_path: Path) -> None:
    from d2r.runs.record import read_run

    folder = make_results(PLAN)
    main(["export", "tensorboard", "--results", str(folder), "-o", str(tmp_path / "events")])
    run = "mt10-rand/d2r/seed1"
    (path,) = (tmp_path / "events" / run).iterdir()
    began = datetime.fromisoformat(read_run(folder / "runs" / run).started)
    assert read_events(path.read_bytes())[1] == {began.timestamp()}


def refused(folder: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["export", "tensorboard", "--results", str(folder), "-o", str(output)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "no finished run below it" in refused(tmp_path / "empty", tmp_path / "events", capsys)
    assert not (tmp_path / "events").exists()


def test_an_output_that_holds_something_is_refused_and_left_alone(
    make_results: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = make_results(PLAN), tmp_path / "events"
    output.mkdir()
    (output / "thesis.tex").write_text("mine")
    assert "is not empty" in refused(folder, output, capsys)
    assert [path.name for path in output.iterdir()] == ["thesis.tex"]


def test_an_output_that_cannot_be_written_is_refused(
    make_results: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_results(PLAN)
    (tmp_path / "file").write_text("")
    assert "Not a directory" in refused(folder, tmp_path / "file/events", capsys)
    assert "File exists" in refused(folder, tmp_path / "file", capsys)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if not os.access(closed, os.W_OK):  # root may write everywhere
        assert "Permission denied" in refused(folder, closed / "events", capsys)


def test_a_damaged_run_is_named_before_anything_is_written(
    make_results: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_results(PLAN)
    with (folder / "runs/mt10-rand/mtsac/seed1/metrics.csv").open("a") as file:
        file.write("800,,success,1\n")
    assert "mtsac/seed1/metrics.csv: does not have the sha256" in refused(folder, tmp_path / "events", capsys)
    assert not (tmp_path / "events").exists()
