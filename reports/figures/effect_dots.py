"""What each choice is worth: one row per level, its effect with two intervals, and every matched set as a small dot."""

from __future__ import annotations

from itertools import groupby

from matplotlib.axes import Axes

from reports.effects import Effect, Effects
from reports.figures.canvas import Drawing, blank
from reports.naming import short, value_title
from reports.statistics import Interval
from reports.style import INK, MUTED, PAPER, PART_INKS

#: inches of a row, and of everything above and below the rows
ROW, BESIDES = 0.3, 0.75

#: how far matched sets of one value lie apart, in rows
SPREAD = 0.09

COLOUR = PART_INKS["backward"].light


def effect_dots(effects: Effects) -> Drawing:
    """One drawing: effects in accuracy points, grouped by factor."""
    groups = [list(group) for _, group in groupby(effects.main, key=lambda effect: effect.contrasts[0].factor.name)]
    rows = sum(len(group) + 1 for group in groups)
    figure, (axis,) = blank(height=BESIDES + ROW * rows)
    places, labels, heads = [], [], []
    place = 0
    for group in groups:
        contrast = group[0].contrasts[0]
        places.append(place)
        heads.append(place)
        labels.append(short(f"{contrast.factor.title}, from {value_title(contrast.reference)}"))
        for effect in group:
            place += 1
            places.append(place)
            labels.append(short(value_title(effect.contrasts[0].level)))
            _draw(axis, place, effect)
        place += 1
    axis.axvline(0, color=MUTED.light, linewidth=1.0, zorder=1)
    axis.set_yticks(places, labels)
    for at, label in zip(places, axis.get_yticklabels(), strict=True):
        if at in heads:
            label.set_fontweight("bold")
            label.set_color(INK.light)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.set_ylim(place - 0.4, -0.6)
    axis.set_xlabel("Accuracy points against the reference level")
    axis.set_xlim(*_limits(effects))
    return Drawing(
        key=f"{effects.key}-figure",
        title=f"{effects.title}: main effects",
        caption=_caption(effects),
        alt="Main effects in accuracy points: " + "; ".join(_in_words(effect) for effect in effects.main) + ".",
        figure=figure,
    )


def _caption(effects: Effects) -> str:
    intervals = (
        "One seed: no intervals. "
        if effects.seeds == (1,)
        else "Filled: both intervals leave out zero. Thick line: 95 % bootstrap over (set, seed). Thin line: 95 % "
        "t-interval over seeds, cut at the frame where it is wider. "
    )
    return (
        f"Large dots: mean over matched sets. {intervals}Small dots: one matched set each, mean over its seeds; where "
        "they lie far apart, a choice's worth depends on the others."
    )


def _draw(axis: Axes, place: int, effect: Effect) -> None:
    mean, seeds = 100 * effect.difference.mean, effect.difference.seeds
    if len(effect.sets) > 1:
        values = sorted(100 * value for value in effect.sets)
        heights = [place + 0.3 + SPREAD * (at % 2) for at in range(len(values))]
        axis.plot(values, heights, linestyle="none", marker="o", markersize=3, color=MUTED.light, alpha=0.6, zorder=2)
    if seeds.low is not None and seeds.high is not None:
        axis.hlines(place, 100 * seeds.low, 100 * seeds.high, color=COLOUR, linewidth=0.9, zorder=3)
    if effect.difference.low is not None and effect.difference.high is not None:
        axis.hlines(
            place, 100 * effect.difference.low, 100 * effect.difference.high, color=COLOUR, linewidth=3, zorder=4
        )
    face = COLOUR if effect.sure else PAPER.light
    axis.plot([mean], [place], marker="o", markersize=6.5, color=COLOUR, markerfacecolor=face, zorder=5)


def _limits(effects: Effects) -> tuple[float, float]:
    """All but t-intervals, which two seeds may make as wide as they like; of those as much as doubles the rest."""
    ends = [0.0]
    for effect in effects.main:
        ends += [*effect.sets, effect.difference.mean]
        ends += [end for end in (effect.difference.low, effect.difference.high) if end is not None]
    low, high = 100 * min(ends), 100 * max(ends)
    room = max(high - low, 0.5)
    wide = [100 * end for effect in effects.main for end in _ends(effect.difference.seeds)]
    low, high = max(min([low, *wide]), low - room / 2), min(max([high, *wide]), high + room / 2)
    return low - 0.05 * room, high + 0.05 * room


def _ends(interval: Interval) -> tuple[float, ...]:
    return () if interval.low is None or interval.high is None else (interval.low, interval.high)


def _in_words(effect: Effect) -> str:
    (contrast,) = effect.contrasts
    name = f"{contrast.title} instead of {value_title(contrast.reference)}"
    return f"{name} {100 * effect.difference.mean:+.1f}"
