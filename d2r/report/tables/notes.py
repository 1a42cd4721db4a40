"""Sentences that stand below more than one table."""

from d2r.config.schema import LATE_EVALUATIONS
from d2r.statistics import FEWEST_RUNS

INTERVAL = (
    "[low, high] is the 95 % interval over runs (one seed of all tasks = one run), Student's t. A single run has no "
    "interval, and neither have runs that all agree."
)
LATE = f"Success is averaged over the tasks and the last {LATE_EVALUATIONS} evaluations of a run, or over all of fewer."
FINAL = (
    "Final success is that of the final policy, for the paper's protocol. It decides nothing, since one evaluation "
    "flickers."
)
LOST = "Failed and missing runs are counted beside n and enter no mean."
DIFFERENCE = (
    "Difference: the method's mean minus D2R's. Its interval takes one spread for all methods of the benchmark, and is "
    "adjusted for all of them (Dunnett), so that all intervals hold together in 95 % of experiments."
)
VERDICT = (
    "Bold, higher and lower: the adjusted interval of the difference in success excludes zero, with at least "
    f"{FEWEST_RUNS} runs on either side."
)
