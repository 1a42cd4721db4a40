"""Configuration: typed, frozen, validated, and the only part that reads YAML."""

from d2r.config.benchmarks import Benchmark, benchmark_ids, load_benchmark
from d2r.config.identity import Stated, choices, config_hash, identity, is_run, stated
from d2r.config.load import (
    RunKey,
    budget_suite,
    changed_method,
    check_seed,
    is_method,
    load_method,
    load_protocol,
    load_scale,
    method_id,
    method_ids,
    plan_runs,
    resolve_network,
    resolve_run,
    scale_ids,
)
from d2r.config.paths import project_root
from d2r.config.schema import SEED, Budget, Method, Protocol, RunConfig, SacConfig, Scale

__all__ = [
    "SEED",
    "Benchmark",
    "Budget",
    "Method",
    "Protocol",
    "RunConfig",
    "RunKey",
    "SacConfig",
    "Scale",
    "Stated",
    "benchmark_ids",
    "budget_suite",
    "changed_method",
    "check_seed",
    "choices",
    "config_hash",
    "identity",
    "is_method",
    "is_run",
    "load_benchmark",
    "load_method",
    "load_protocol",
    "load_scale",
    "method_id",
    "method_ids",
    "plan_runs",
    "project_root",
    "resolve_network",
    "resolve_run",
    "scale_ids",
    "stated",
]
