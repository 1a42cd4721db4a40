"""Speed, each figure beside its limit and its peers, measured in one run."""
