"""Piggyback: one bit per weight on a frozen backbone."""
