"""Protocols with short episodes, so that a test sees many resets in few steps."""

from __future__ import annotations

import pytest

from d2r.config.load import load_protocol
from d2r.config.schema import Protocol


def shortened(protocol_id: str, horizon: int) -> Protocol:
    return load_protocol(protocol_id).model_copy(update={"horizon": horizon})


@pytest.fixture(params=["d2r-official", "metaworld-plus"])
def short(request: pytest.FixtureRequest) -> Protocol:
    return shortened(request.param, 7)
