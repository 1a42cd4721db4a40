"""Protocols with short episodes."""

from __future__ import annotations

import pytest

from d2r.config.schema import Protocol
from tests.support.environments import shortened


@pytest.fixture(params=["d2r-official", "metaworld-plus"])
def short(request: pytest.FixtureRequest) -> Protocol:
    return shortened(request.param, 7)
