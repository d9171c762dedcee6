"""Imported once by the server that worker processes are forked from; nothing here runs an operation of torch."""

import warnings
from contextlib import suppress

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import avalanche.benchmarks
    import avalanche.training.plugins  # noqa: F401

    import benchmark.execute.runner  # noqa: F401
    from methods.registry import METHODS

    for card in METHODS.values():
        with suppress(Exception):  # a plug-in's fault shows in its own run
            card.load()
