"""The JSON schema of a scale's file, for Snakemake and for editors: ``python -m d2r.planning.schema`` prints it."""

from __future__ import annotations

import json
from typing import Any

from d2r.config.schema import Scale


def scale_schema() -> dict[str, Any]:
    """Return the schema of ``config/scales/*.yaml``, made from the typed configuration."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Scale.model_json_schema()}


if __name__ == "__main__":
    print(json.dumps(scale_schema(), indent=2))
