"""Logs of runs for other tools (``--log``), fed from the runs' events by the command, never by a run's own process."""
