"""The benchmark suite: command line and Python API, plan, executors, runner, scenarios, backbones, clocks, sizes.

>>> import benchmark as mb                                    # doctest: +SKIP
>>> mb.run(methods=["ksm", "piggyback"], epochs=5).table()    # doctest: +SKIP

Names are resolved when used: importing this package imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.api import Results, check, load_task, read, report, run, tune
    from benchmark.errors import RequestError

__all__ = ["RequestError", "Results", "check", "load_task", "read", "report", "run", "tune"]


def __getattr__(name: str) -> Any:
    if name == "RequestError":
        from benchmark.errors import RequestError

        return RequestError
    if name in __all__:
        from benchmark import api

        return getattr(api, name)
    raise AttributeError(f"module 'benchmark' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
