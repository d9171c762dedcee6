"""PackNet: train, prune, and give what was pruned to the next task."""
