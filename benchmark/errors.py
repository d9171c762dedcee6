"""The one exception that the command line turns into a sentence and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestError(Exception):
    """The request is wrong or the data is missing: one sentence that says what, and what to do about it."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'ksm'?`` when a known word is near, else an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
