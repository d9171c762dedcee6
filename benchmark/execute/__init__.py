"""Carrying out a plan: processes, runs, checkpoints, and the records and files that a run leaves."""
