"""Sentences that stand below more than one table."""

INTERVAL = (
    "[low, high] is the 95 % interval over runs (one seed of all tasks = one run): Student's t below 10 runs, "
    "bootstrap over whole runs from 10. A single run has no interval, and neither have runs that all agree."
)
FINAL = "Success is that of the final policy, in percent, averaged over the tasks of a run."
LOST = "Failed and missing runs are counted beside n and enter no mean."
BEST = "Bold: the best mean, only where the interval of its difference to the runner-up excludes zero."
