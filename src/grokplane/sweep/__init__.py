"""Grids of runs: sweep files and multiruns as stacks, and the executors that train them."""
