"""Success rates printed by others, each with its source and how surely we know it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from d2r.config.reader import read_yaml

DATA = Path(__file__).parent / "data" / "published.yaml"


@dataclass(frozen=True)
class Source:
    """Where a number was printed and under which protocol."""

    id: str
    title: str
    confidence: str
    protocol: str
    mark: str
    """Letter that stands for the source in tables."""


@dataclass(frozen=True)
class PublishedValue:
    """One printed success rate, in percent."""

    source: Source
    name: str
    method: str | None
    benchmark: str | None
    setting: str
    value: float
    spread: float | None
    up_to: float | None
    """Upper end of a range, of which ``value`` is the lower."""

    @property
    def text(self) -> str:
        """The number as printed, such as ``63.5 ± 1.2 [a]``; the spread is whatever the source prints."""
        spread = f" ± {self.spread:.1f}" if self.spread is not None else ""
        range_end = f" to {self.up_to:.1f}" if self.up_to is not None else ""
        return f"{self.value:.1f}{spread}{range_end} [{self.source.mark}]"


@cache
def sources() -> dict[str, Source]:
    """All sources, in the order of the data file."""
    raw = read_yaml(DATA)["sources"]
    return {
        name: Source(name, mark=chr(ord("a") + index), **about)
        for index, (name, about) in enumerate(raw.items())
    }


@cache
def published_values() -> tuple[PublishedValue, ...]:
    """All published values, in the order of the data file."""
    return tuple(
        PublishedValue(
            source=sources()[entry["source"]],
            name=entry["name"],
            method=entry.get("method"),
            benchmark=entry.get("benchmark"),
            setting=entry.get("setting", entry.get("benchmark", "")),
            value=float(entry["value"]),
            spread=entry.get("spread"),
            up_to=entry.get("up_to"),
        )
        for entry in read_yaml(DATA)["values"]
    )


def published_values_of(method: str, benchmark: str) -> list[PublishedValue]:
    """Every published value of a method on a benchmark."""
    return [value for value in published_values() if (value.method, value.benchmark) == (method, benchmark)]


def published_text(method: str, benchmark: str) -> str:
    """The same in words, or the word ``unknown``."""
    return "; ".join(value.text for value in published_values_of(method, benchmark)) or "unknown"
