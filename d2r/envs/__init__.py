"""Benchmarks as vector environments; ``gymnasium.make_vec`` knows them once this is imported."""

from gymnasium.envs.registration import register

from d2r.config.benchmarks import benchmark_ids

for _benchmark in benchmark_ids():
    register(
        f"d2r/{_benchmark}-v0",
        vector_entry_point="d2r.play.gym_entry:make_vector",
        kwargs={"benchmark": _benchmark},
    )
