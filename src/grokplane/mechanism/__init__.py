"""Diagnostics of what a network computes: pure functions of tensors, which the metrics call."""
