"""What every benchmark states beside its figures: how busy the machine was, which source, processor and packages."""

from __future__ import annotations

import os
from typing import Any

from d2r.config import project_root
from d2r.kernel.library import implementation
from d2r.training import provenance
from d2r.training.source import source_state


def about() -> dict[str, Any]:
    """Load average, commit, processor and package versions."""
    return {
        "load_average": round(os.getloadavg()[0], 1),
        **source_state(project_root()),
        "cpu": provenance.cpu().model_dump(),
        "kernel": implementation(),
        "packages": provenance.package_versions(),
    }
