"""Numbers as text, the same way in every table and sentence."""

from __future__ import annotations

DASH = "–"
MINUS = "−"

#: operations in a GFLOP
GIGA = 1e9


def with_spread(mean: float, half_width: float | None, decimals: int) -> str:
    """``78.9 ± 0.4``, or ``78.9`` for a single seed and where all seeds agree to the last bit (sizes)."""
    text = f"{mean:,.{decimals}f}".replace("-", MINUS)
    return f"{text} ± {half_width:,.{decimals}f}" if half_width else text


def signed(value: float, decimals: int) -> str:
    """``+0.3``, ``−0.3`` (a true minus sign), and ``0.0`` without a sign."""
    text = f"{abs(value):,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return ("+" if value > 0 else MINUS) + text


def decimals_for(largest: float) -> int:
    """Digits after the point so that a column of times or sizes shows three figures; none for nothing at all."""
    if largest >= 100 or largest == 0:
        return 0
    return 1 if largest >= 10 else 2 if largest >= 1 else 3 if largest >= 0.1 else 4


def duration(seconds: float) -> str:
    """``0.2 seconds``, ``41 seconds``, ``7 minutes``, ``2.3 hours``."""
    if seconds < 9.95:
        return f"{seconds:.2g} second{'' if f'{seconds:.2g}' == '1' else 's'}"
    if seconds < 90:
        return f"{seconds:.0f} second{'' if round(seconds) == 1 else 's'}"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def times(ratio: float) -> str:
    """``0.044×``, ``1.31×``, ``21.7×``: two figures below one, three above; ``1,234×``."""
    if ratio >= 999.5:
        return f"{ratio:,.0f}×"
    return f"{ratio:#.{2 if ratio < 1 else 3}g}".rstrip(".") + "×"
