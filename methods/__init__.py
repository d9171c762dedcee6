"""Mask-based continual-learning methods as Avalanche strategies, usable alone in any Avalanche script."""
