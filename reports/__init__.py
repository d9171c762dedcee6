"""The report stage: a pure function of run records and published numbers. It knows neither torch nor how runs are made."""
