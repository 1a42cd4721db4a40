"""What the router sees, and how much routes then tell of the task."""

from __future__ import annotations

import numpy as np
import pandas as pd

from d2r.config import load_protocol
from d2r.config.schema import OBSERVED_EVERY
from d2r.errors import UserError
from d2r.findings.recorded_routes import routes_of
from d2r.findings.results import REFERENCE, Results
from d2r.information import conditional_information, plug_in_bias
from d2r.statistics import Floats

ROUTER_INPUTS = {
    REFERENCE: "task × state",
    f"{REFERENCE}+network.router_input-relu-product": "ReLU of task × state",
    f"{REFERENCE}-concat-routing": "task and state side by side",
    f"{REFERENCE}-task-routing": "task alone",
    f"{REFERENCE}-state-routing": "state alone",
}
"""What the router of each method sees."""
WITHOUT_CHOICE = "2"
"""The second module reads the first, whatever the router says."""


def benchmarks_of_router_inputs(results: Results) -> list[str]:
    """Benchmarks on which the router of some planned method sees something else than D2R's."""
    return [
        benchmark
        for benchmark in results.benchmarks
        if any(results.run_counts(benchmark, name)["all"] for name in ROUTER_INPUTS if name != REFERENCE)
    ]


def task_information(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    """Mutual information of task and source read, in bits, at the last evaluation of each finished run, by seed.

    From the mean weights that runs record, so it is not corrected for the number of states (:func:`task_bias`).
    """
    weights = _last_weights(results, benchmark, method)
    return pd.Series({seed: conditional_information(found) for seed, found in weights.items()}, dtype=float)


def task_bias(results: Results, benchmark: str, method: str) -> pd.Series[float]:
    """By how much that is too high, in bits, were the states drawn independently; none if the protocol is gone."""
    try:
        horizon = load_protocol(results.protocol).horizon
    except UserError:
        return pd.Series(dtype=float)
    runs = results.finished
    runs = runs[(runs["benchmark"] == benchmark) & (runs["method"] == method)]
    states = runs.set_index("seed")["evaluation_episodes"] * -(-horizon // OBSERVED_EVERY)
    return pd.Series(
        {
            seed: plug_in_bias(float(states[seed]) * weights)
            for seed, weights in _last_weights(results, benchmark, method).items()
        },
        dtype=float,
    )


def _last_weights(results: Results, benchmark: str, method: str) -> dict[int, Floats]:
    """Mean weights at the last evaluation of each finished run that recorded them: [reader, task, source], by seed."""
    found: dict[int, Floats] = {}
    for seed in results.seeds(benchmark, method):
        routes = routes_of(results, benchmark, method, seed)
        routes = routes[(routes["step"] == routes["step"].max()) & (routes["target"] != WITHOUT_CHOICE)]
        if len(routes):
            found[seed] = weights_of(routes)
    return found


def weights_of(routes: pd.DataFrame) -> Floats:
    """Weights [reader, task, source] of edges (task, target, source, weight); 0 for those that are not there."""
    axes = [routes[name].astype("category").cat for name in ("target", "task", "source")]
    weights = np.zeros([len(axis.categories) for axis in axes])
    np.add.at(weights, tuple(axis.codes.to_numpy() for axis in axes), routes["weight"].to_numpy(dtype=float))
    return weights
