"""Released results: their manifest, how runs get there, and the DVC remote that keeps the policies."""
