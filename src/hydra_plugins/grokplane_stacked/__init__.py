"""Hydra's `hydra/launcher=stacked`."""
