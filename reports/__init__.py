"""The report stage: a pure function of run records and published numbers; it knows nothing of how runs are made."""
