"""What a scale holds and what it will cost here, and what Snakemake asks of the package."""
