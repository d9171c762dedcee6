"""Imported once by the server that worker processes are forked from; nothing here runs an operation of torch."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import avalanche.benchmarks
    import avalanche.training.plugins  # noqa: F401

import benchmark.runner  # noqa: F401
import methods.cpg
import methods.masked
import methods.packnet
import methods.whole  # noqa: F401
