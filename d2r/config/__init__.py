"""Configuration: typed, frozen, validated, and the only part that reads YAML."""

from d2r.config.load import (
    RunKey,
    check_benchmark,
    check_seed,
    config_hash,
    load_method,
    load_protocol,
    load_scale,
    method_ids,
    plan_runs,
    resolve_network,
    resolve_run,
    scale_ids,
)
from d2r.config.paths import project_root
from d2r.config.schema import BENCHMARKS, SEED, Budget, Method, Protocol, RunConfig, SacConfig, Scale

__all__ = [
    "BENCHMARKS",
    "SEED",
    "Budget",
    "Method",
    "Protocol",
    "RunConfig",
    "RunKey",
    "SacConfig",
    "Scale",
    "check_benchmark",
    "check_seed",
    "config_hash",
    "load_method",
    "load_protocol",
    "load_scale",
    "method_ids",
    "plan_runs",
    "project_root",
    "resolve_network",
    "resolve_run",
    "scale_ids",
]
