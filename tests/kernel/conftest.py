"""Which version of the compiled library serves in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from d2r.kernel import library
from tests.support.compiled import BUILT


@pytest.fixture(params=BUILT)
def level(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(level: str) -> Iterator[Callable[[bool], None]]:
    """Choose whether this version of the library serves, or PyTorch's operators."""
    with pytest.MonkeyPatch.context() as patch:

        def choose(compiled: bool) -> None:
            def functions(dtype: torch.dtype) -> dict[str, library.Function] | None:
                known = compiled and dtype in library.NAMES
                return library.load(library.library(level), dtype) if known else None

            patch.setattr(library, "functions", functions)

        yield choose
