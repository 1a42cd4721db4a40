"""What ``gymnasium.make_vec("d2r/mt10-rand-v0")`` makes: the environment that runs are trained and evaluated in."""

from __future__ import annotations

from d2r.config import check_seed, load_protocol
from d2r.envs.vector import MetaWorldVectorEnv
from d2r.errors import UserError
from d2r.training.seeding import Stream, seed_sequence


def make_vector(
    benchmark: str,
    num_envs: int = 1,
    seed: int = 1,
    protocol: str = "d2r-official",
    *,
    evaluation: bool = False,
    workers: int = 0,
) -> MetaWorldVectorEnv:
    """Make a benchmark's vector environment, one task a row.

    Args:
        benchmark: such as ``mt10-rand``.
        num_envs: the benchmark's number of tasks; 1, which gymnasium says for itself, means so, too.
        seed: of the run whose goals it has.
        protocol: a file of ``config/protocols``: horizon, reward and goals.
        evaluation: the goals of the run's evaluations, from the first at each reset, in place of training's.
        workers: processes that step slices of the tasks; 0 steps here.

    Raises:
        UserError: for an unknown benchmark or protocol, or an impossible number.
    """
    sequence = seed_sequence(check_seed(str(seed)), Stream.ENVIRONMENT)
    env = MetaWorldVectorEnv(
        benchmark, load_protocol(protocol), sequence, evaluation=evaluation, workers=workers
    )
    if num_envs not in (1, env.num_envs):
        env.close()
        raise UserError(f"num_envs is {num_envs}: {benchmark} has {env.num_envs} tasks, one a row")
    return env
