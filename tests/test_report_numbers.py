"""Numbers, lists and axes as a reader sees them: the same figures everywhere, thousands with commas, no accuracy above
100."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_records import record

from reports.figures.canvas import Drawing, blank, from_where, legend, save, style, within_percent
from reports.figures.training_cost import training_cost
from reports.grouping import group
from reports.naming import listed
from reports.numbers import decimals_for, times


@pytest.mark.parametrize(
    ("value", "text"),
    [(1899.8, "1900"), (40.49, "40.5"), (2.084, "2.08"), (0.1864, "0.186"), (0.0935, "0.0935"), (0.00149, "0.0015")],
)
def test_times_and_sizes_have_three_figures_down_to_four_decimals(value: float, text: str) -> None:
    assert f"{value:.{decimals_for(value)}f}" == text


@pytest.mark.parametrize(("ratio", "text"), [(0.7, "0.70×"), (0.044, "0.044×"), (1.31, "1.31×"), (9.0, "9.00×"),
                                             (21.7, "21.7×"), (130.2, "130×"), (999.6, "1,000×"),
                                             (1234, "1,234×")])  # fmt: skip
def test_a_ratio_has_two_figures_below_one_and_three_above(ratio: float, text: str) -> None:
    assert times(ratio) == text


def test_names_with_commas_are_listed_with_semicolons() -> None:
    assert listed(["A", "B", "C"], 3) == "A, B and C"
    assert listed(["A", "B", "C"], 2) == "A, B and 1 more"
    assert listed(["KSM", "KSM, release schedule", "CPG"], 3) == "KSM; KSM, release schedule; and CPG"
    assert listed(["KSM, release schedule", "CPG", "HAT"], 2) == "KSM, release schedule; CPG; and 1 more"


def test_linear_axes_have_thousands_and_small_figures_stay_small(tmp_path: Path) -> None:
    with style():
        figure, (axis,) = blank(height=3, width=5)
        axis.plot([-4000, 0, 4000], [0.1, 0.2, 0.3])
        view = save(Drawing("one", "One", "About it.", "A line.", figure), tmp_path, "figures")
    assert ">4,000<" in view.svg and ">−4,000<" in view.svg and ">4000<" not in view.svg
    assert ">0.200<" in view.svg  # small numbers stay as they were
    assert "max-width:500px;--least:19rem" in view.svg  # half of a whole figure's 1,000 px and 38rem


def test_an_axis_of_percentages_ends_just_above_100() -> None:
    _, (axis,) = blank(height=3)
    axis.errorbar([0, 1], [88, 99], yerr=[61, 12])
    within_percent(axis)
    low, high = axis.get_ylim()
    assert high == 102 and 0 < low < 27
    assert from_where(axis) == f"\n(axis from {low:.0f})"
    axis.set_ylim(-5, 90)
    within_percent(axis)
    assert axis.get_ylim() == (0, 90) and from_where(axis) == ""


def test_a_legend_is_as_wide_as_a_phone_and_its_figure_grows_by_its_rows() -> None:
    """415 points: two columns of 21 letters (40 + 4.8 * 21 = 141 points each), four of three."""
    for label, columns, height in (("Piggyback (BN frozen)", 2, 4.0 + 0.19), ("KSM", 4, 4.0)):
        figure, (axis,) = blank(height=4.0)
        for _ in range(8):
            axis.plot([0, 1], label=label)
        legend(figure, axis)
        assert figure.legends[0]._ncols == columns  # type: ignore[attr-defined]
        assert figure.get_figheight() == pytest.approx(height)
        figure.draw_without_rendering()
        assert figure.legends[0].get_window_extent().width * 72 / figure.dpi <= 415


def test_published_times_of_methods_that_were_not_run_have_a_name() -> None:
    """KSM alone was run: the published lines of the others are told apart in the legend, too."""
    (panel,), _ = group([record("ksm", seed, [0.5] * 5) for seed in (0, 1)])
    (drawing,) = training_cost(panel)
    (found,) = drawing.figure.legends
    names = [text.get_text() for text in found.get_texts()]
    assert names[0] == "KSM" and {"PackNet (paper)", "Piggyback (paper)", "CPG (paper)"} == set(names[1:])
