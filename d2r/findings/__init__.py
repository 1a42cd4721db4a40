"""What the runs say, unformatted: collected results, differences between methods, verdicts on claims."""
