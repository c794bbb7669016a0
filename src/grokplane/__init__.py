"""Grokking on the information plane: stacked training of small networks, and what happens inside them."""
