"""Records of runs that nobody trained."""

from __future__ import annotations

from collections.abc import Mapping

from d2r.config import RunConfig, stated
from d2r.runs.folders import hashes_of
from d2r.runs.record import SCHEMA, Parameters, Processor, RunRecord


def record_of(config: RunConfig, files: Mapping[str, bytes]) -> RunRecord:
    """The record of a finished run with these outputs."""
    return RunRecord(
        schema=SCHEMA,
        scale=config.scale,
        benchmark=config.benchmark,
        method=config.method,
        seed=config.seed,
        protocol=config.protocol.id,
        status="finished",
        **stated(config).model_dump(),
        steps=config.budget.steps,
        updates=0,
        packages={},
        dirty=False,
        cpu=Processor(),
        parameters=Parameters(actor=1, critic=1),
        failure=None,
        outputs=hashes_of(files),
    )
