"""Meta-World's benchmarks as vector environments; ``gymnasium.make_vec`` knows them once this is imported."""

from gymnasium.envs.registration import register

from d2r.config.schema import BENCHMARKS

for _benchmark in BENCHMARKS:
    register(
        f"d2r/{_benchmark}-v0",
        vector_entry_point="d2r.evaluation.registered:make_vector",
        kwargs={"benchmark": _benchmark},
    )
