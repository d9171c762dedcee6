"""The one exception that the command line turns into a sentence and exit code 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class RequestError(Exception):
    """The request is wrong or the data is missing: one sentence that says what, and what to do about it."""


def did_you_mean(word: str, known: Iterable[str], also: Mapping[str, str] | None = None) -> str:
    """`` Did you mean 'ksm'?`` when a known word is near, else an empty string.

    Args:
        also: words that people have for known ones -> the known ones.
    """
    meant = {name: name for name in known} | dict(also or {})
    import difflib  # a right word does without

    near = [word] if word in meant else difflib.get_close_matches(word, list(meant), n=1, cutoff=0.5)
    return f" Did you mean {meant[near[0]]!r}?" if near else ""


def printable(text: str) -> str:
    """Text of others for a terminal: what is no letter, control characters above all, becomes a replacement mark."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
