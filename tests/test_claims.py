"""Every kind of claim on cases made by hand: holds, fails, undecided, not judged, not run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from report_records import record

from reports.checks import (
    about_as_accurate,
    every_initial_task_above,
    fewer_mask_units,
    initial_task_spread,
    later_layers_change_more,
    more_accurate,
    no_forgetting,
    size_at_most,
    slower,
    soft_share_at_most,
)
from reports.claims import check_claims
from reports.evidence import OWN, SAME, Evidence
from reports.grouping import Panel, group
from reports.papers.ksm_claims import CLAIMS
from results.schema import RunRecord

BASE = (0.50, 0.60, 0.70, 0.80)


def panel_of(runs: Sequence[RunRecord]) -> Panel:
    """The one panel that the runs make."""
    (panel,), _ = group(runs)
    return panel


def runs_of(method: str, shifts: Sequence[float], **options: object) -> list[RunRecord]:
    """One run per seed; seed ``s`` has every accuracy of BASE shifted by ``shifts[s]``."""
    return [record(method, s, [a + shift for a in BASE], **options) for s, shift in enumerate(shifts)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shifts", "verdict"),
    [
        ((0.030, 0.031, 0.029), "holds"),
        ((-0.030, -0.031, -0.029), "fails"),
        ((0.03, -0.03, 0.01), "undecided"),
        ((0.03,), "undecided"),  # one seed decides nothing
    ],
)
def test_more_accurate(shifts: Sequence[float], verdict: str) -> None:
    panel = panel_of(runs_of("ksm", shifts) + runs_of("piggyback", [0.0] * len(shifts)))
    evidence = more_accurate("ksm", "piggyback")(panel)
    assert evidence.verdict == verdict
    assert evidence.numbers["difference"] == pytest.approx(sum(shifts) / len(shifts))
    assert evidence.compared == ("KSM", "Piggyback")


def test_an_undecided_claim_says_how_many_seeds_it_would_take() -> None:
    # Differences of 1, 2, 3 points: mean 2, s 1, t-interval ±2.48. t(n-1)/sqrt(n) < 2 first holds for n = 4 (1.59).
    panel = panel_of(runs_of("ksm", (0.01, 0.02, 0.03)) + runs_of("piggyback", (0, 0, 0)))
    evidence = more_accurate("ksm", "piggyback")(panel)
    assert (evidence.verdict, evidence.more_seeds) == ("undecided", 1)
    assert evidence.seeds_text == "about 1 more seed might decide it"
    one = more_accurate("ksm", "piggyback")(panel_of(runs_of("ksm", (0.01,)) + runs_of("piggyback", (0,))))
    assert one.more_seeds == 2  # up to the three that an interval needs
    assert one.seeds_text == "at least 2 more seeds needed"


def test_absent_methods_are_not_run() -> None:
    evidence = more_accurate("ksm", "cpg")(panel_of(runs_of("ksm", (0, 0))))
    assert (evidence.verdict, evidence.statistic) == ("not run", "needs CPG")


def test_a_negative_margin_means_not_much_worse() -> None:
    panel = panel_of(runs_of("ksm", (-0.005, -0.004, -0.006)) + runs_of("cpg", (0, 0, 0)))
    assert more_accurate("ksm", "cpg")(panel).verdict == "fails"
    assert more_accurate("ksm", "cpg", by=-1.0)(panel).verdict == "holds"


def test_the_same_bn_policy_is_asked_for_on_both_sides() -> None:
    runs = runs_of("ksm", (0.03, 0.031, 0.029)) + runs_of("piggyback", (0, 0, 0))  # per-task against frozen
    check = more_accurate("ksm", "piggyback", bn=SAME)
    assert check(panel_of(runs)).verdict == "not run"
    frozen = [record("ksm", s, BASE, spec={"bn_policy": "frozen"}, run_id=f"frozen-{s}") for s in range(3)]
    evidence = check(panel_of(runs + frozen))
    assert evidence.numbers["difference"] == pytest.approx(0.0)
    assert evidence.compared == ("KSM (BN frozen)", "Piggyback")


def test_each_method_stands_with_its_own_bn_where_the_paper_compares_them_so() -> None:
    ksm, frozen = runs_of("ksm", (0.03, 0.031, 0.029)), runs_of("piggyback", (0, 0, 0))
    per_task = [
        record("piggyback", s, [a + 0.02 for a in BASE], spec={"bn_policy": "per-task"}, run_id=f"per-task-{s}")
        for s in range(3)
    ]
    panel = panel_of(ksm + frozen + per_task)
    own = more_accurate("ksm", "piggyback", bn=OWN)(panel)
    assert own.compared == ("KSM", "Piggyback (BN frozen)")
    assert own.numbers["difference"] == pytest.approx(0.03)
    assert "BN is per-task in KSM, frozen in Piggyback (BN frozen)" in own.statistic
    assert own.statistic.endswith("; not judged: KSM − Piggyback (BN per-task) +1.00")
    assert more_accurate("ksm", "piggyback", bn=SAME)(panel).numbers["difference"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("shifts", "verdict"),
    [((0.001, 0.002, 0.000), "holds"), ((0.02, 0.021, 0.019), "fails"), ((0.004, 0.006, -0.004), "undecided")],
)
def test_about_as_accurate(shifts: Sequence[float], verdict: str) -> None:
    panel = panel_of(runs_of("ksm", shifts) + runs_of("ksm-elementwise", (0, 0, 0)))
    assert about_as_accurate("ksm", "ksm-elementwise", within=0.5)(panel).verdict == verdict


@pytest.mark.parametrize(
    ("cpg", "verdict"), [((150, 151, 149), "holds"), ((50, 51, 49), "fails"), ((90, 130, 80), "undecided")]
)
def test_slower(cpg: Sequence[float], verdict: str) -> None:
    runs = [record("cpg", s, BASE, seconds=[value] * 4, epochs=100) for s, value in enumerate(cpg)]
    runs += [record("ksm", s, BASE, seconds=[None, 10, 10, 10], epochs=10) for s in range(3)]
    evidence = slower("cpg", "ksm", times=10)(panel_of(runs))
    assert evidence.verdict == verdict
    assert evidence.numbers["pairs"] == 9  # the initial task, which KSM did not train, is no pair


def test_slower_per_epoch_divides_by_the_epochs() -> None:
    runs = [record("cpg", s, BASE, seconds=[150.0 + s] * 4, epochs=100) for s in range(3)]
    runs += [record("ksm", s, BASE, seconds=[10.0] * 4, epochs=10) for s in range(3)]
    evidence = slower("cpg", "ksm", times=10, per_epoch=True)(panel_of(runs))
    assert evidence.verdict == "fails"
    assert evidence.statistic.startswith("CPG over KSM, seconds per epoch: 1.51×")


def test_times_under_different_bn_policies_say_so_and_the_same_policy_can_be_asked_for() -> None:
    def runs(method: str, seconds: float, **options: object) -> list[RunRecord]:
        return [record(method, s, BASE, seconds=[seconds + s / 100] * 4, **options) for s in range(3)]  # type: ignore[arg-type]

    ours = runs("ksm", 10.0) + runs("piggyback", 9.0)  # per-task against frozen
    evidence = slower("piggyback", "ksm", times=1 / 1.05)(panel_of(ours))
    assert (evidence.verdict, evidence.statistic.partition("; BN is ")[2]) == (
        "fails",
        "frozen in Piggyback, per-task in KSM",
    )
    same_bn = slower("piggyback", "ksm", times=1 / 1.05, bn=SAME)
    assert same_bn(panel_of(ours)).verdict == "not run"
    frozen = [
        record("ksm", s, BASE, seconds=[8.0 + s / 100] * 4, spec={"bn_policy": "frozen"}, run_id=f"frozen-{s}")
        for s in range(3)
    ]
    evidence = same_bn(panel_of(ours + frozen))
    assert (evidence.verdict, evidence.compared) == ("holds", ("Piggyback", "KSM (BN frozen)"))
    assert "BN is" not in evidence.statistic


def test_times_of_different_hardware_are_not_compared() -> None:
    runs = [record("cpg", s, BASE, provenance={"host": {"cpu": "fast", "threads": 8}}) for s in range(3)]
    runs += [record("ksm", s, BASE, provenance={"host": {"cpu": "slow", "threads": 1}}) for s in range(3)]
    evidence = slower("cpg", "ksm", times=10)(panel_of(runs))
    assert (evidence.verdict, evidence.statistic) == ("not run", "CPG and KSM were not timed on the same hardware")


def test_forgetting_is_an_invariant_not_a_statistic() -> None:
    kept = [record("ksm", 0, BASE)]
    assert no_forgetting("ksm")(panel_of(kept)).verdict == "holds"
    lost = [record("ksm", 1, BASE, at_end=(0.499, 0.6, 0.7, 0.8))]
    evidence = no_forgetting("ksm")(panel_of(kept + lost))
    assert evidence.verdict == "fails"
    assert evidence.statistic == "1 of 8 tasks changed; largest change 0.10 points"


def _from(start: int, shifts: Sequence[float]) -> list[RunRecord]:
    return runs_of("ksm", shifts, initial_task=start)


@pytest.mark.parametrize(
    ("other", "verdict"),
    [((-0.009, -0.010, -0.011), "holds"), ((-0.05, -0.051, -0.049), "fails"), ((0.0, -0.03, 0.0), "undecided")],
)
def test_initial_task_spread(other: Sequence[float], verdict: str) -> None:
    evidence = initial_task_spread("ksm", within=1.5)(panel_of(_from(1, (0, 0, 0)) + _from(3, other)))
    assert evidence.verdict == verdict
    assert evidence.compared == ("from task 1", "from task 3")


def test_initial_tasks_need_two_and_the_worst_must_win() -> None:
    assert initial_task_spread("ksm", within=1.5)(panel_of(_from(1, (0, 0)))).verdict == "not run"
    runs = _from(1, (0.02, 0.021, 0.019)) + _from(3, (0.01, 0.011, 0.009)) + runs_of("piggyback", (0, 0, 0))
    evidence = every_initial_task_above("ksm", "piggyback")(panel_of(runs))
    assert (evidence.verdict, evidence.compared) == ("holds", ("from task 3", "Piggyback"))


def _masked(method: str, units: int, ones: int, soft: int) -> RunRecord:
    rows = [("fish", layer, ones, soft, units - ones - soft) for layer in ("a", "b")]
    return record(method, 0, (0.5, 0.6), masks=rows, sizes={"itemised": units * 100})


def test_masks_counted() -> None:
    panel = panel_of([_masked("ksm", 100, 80, 12), _masked("piggyback", 900, 800, 0)])
    units: Evidence = fewer_mask_units("ksm", "piggyback", times=9)(panel)
    assert (units.verdict, units.numbers["ratio"]) == ("holds", 9.0)
    assert fewer_mask_units("ksm", "piggyback", times=10)(panel).verdict == "fails"
    assert soft_share_at_most("ksm", share=0.25)(panel).numbers["share"] == pytest.approx(0.12)
    assert soft_share_at_most("ksm", share=0.10)(panel).verdict == "fails"
    assert size_at_most("ksm", "piggyback", times=1.25)(panel).numbers["ratio"] == pytest.approx(1 / 9)
    assert size_at_most("piggyback", "ksm", times=1.25)(panel).verdict == "fails"


@pytest.mark.parametrize(("early", "late", "verdict"), [(90, 60, "holds"), (60, 90, "fails")])
def test_later_layers_change_more(early: int, late: int, verdict: str) -> None:
    runs = [
        record(
            "ksm",
            s,
            (0.5, 0.6),
            masks=[("fish", "a", early + s, 5, 95 - early - s), ("fish", "b", late, 0, 100 - late)],
        )
        for s in range(3)
    ]
    assert later_layers_change_more("ksm")(panel_of(runs)).verdict == verdict


def test_masks_are_judged_by_the_sources_own_configuration_not_by_a_mixture() -> None:
    def masked(lr: float, early: int, late: int) -> list[RunRecord]:
        masks = [("fish", "a", early, 100 - early, 0), ("fish", "b", late, 100 - late, 0)]
        spec = {"settings": {"epochs": 30, "lr": lr}}
        return [record("ksm", s, (0.5, 0.6), masks=masks, spec=spec, run_id=f"{lr}-{s}") for s in range(3)]

    panel = panel_of(masked(2e-4, 60, 90) + masked(1e-4, 90, 85))  # 1e-4 is the paper's
    later = later_layers_change_more("ksm")(panel)
    assert (later.verdict, later.compared) == ("holds", ("KSM (lr 0.0001)",))
    assert later.numbers["difference"] == pytest.approx(0.05)
    assert later.statistic.endswith("; not judged: KSM (lr 0.0002) −30.00")
    soft = soft_share_at_most("ksm", share=0.2)(panel)
    assert (soft.verdict, soft.numbers["share"]) == ("holds", pytest.approx(0.125))
    assert soft.statistic == "KSM (lr 0.0001): 12.5 % of the mask units; KSM (lr 0.0002): 25.0 % of the mask units"


def _verdicts(runs: Sequence[RunRecord]) -> dict[str, Evidence]:
    return {item.claim.key: item.evidence for item in check_claims(panel_of(runs), CLAIMS)}


def test_no_claim_is_judged_by_masks_that_never_moved() -> None:
    def ksm(seed: int, zeros: int) -> RunRecord:
        masks = [(task, layer, 100 - zeros, 0, zeros) for task in ("fish", "flowers") for layer in ("a", "b")]
        return record("ksm", seed, [a + 0.03 + seed / 1000 for a in BASE], masks=masks, sizes={"itemised": 10})

    others = [record("piggyback", s, BASE, sizes={"itemised": 10}) for s in range(3)]
    others += [record("packnet", s, BASE) for s in range(3)] + [record("cpg", s, BASE) for s in range(3)]
    sound = _verdicts([ksm(s, 1) for s in range(3)] + others)
    keys = [
        "ksm-above-piggyback",
        "ksm-above-packnet",
        "soft-values-are-few",
        "size-slightly-larger",
        "ksm-no-forgetting",
    ]
    assert [sound[key].verdict for key in keys] == ["holds"] * 5
    assert {item.verdict for item in sound.values()} == {"holds", "fails", "undecided", "not run"}
    unmoved = _verdicts([ksm(s, 0) for s in range(3)] + others)
    judged = {key for key, item in sound.items() if item.verdict != "not run"}
    assert {key for key, item in unmoved.items() if item.verdict == "not judged"} == judged - {
        "packnet-slower-than-piggyback"  # is not about it
    }
    reason = unmoved["soft-values-are-few"]
    assert reason.statistic.startswith("Masks never moved: KSM at lr=0.0001; no score crossed its threshold")
    assert (reason.compared, reason.seeds_text) == (("KSM",), "")
    one = _verdicts([ksm(0, 0), ksm(1, 1), ksm(2, 1), *others])  # a mean has every run in it
    assert one["ksm-above-piggyback"].verdict == "not judged"
    assert "KSM at lr=0.0001 in 1 of 3 runs" in one["ksm-above-piggyback"].statistic


def test_no_claim_is_judged_by_runs_at_chance_but_by_those_below_a_lower_bound() -> None:
    ours = runs_of("ksm", (0.03, 0.031, 0.029))
    guessed = _verdicts(ours + [record("piggyback", s, [0.2] * 4) for s in range(3)])
    assert guessed["ksm-above-piggyback"].verdict == "not judged"
    assert guessed["ksm-above-piggyback"].statistic.startswith(
        "At chance: Piggyback with 20.0 % (guessing: 20.0 %) at lr=0.0001; not above guessing"
    )
    below = _verdicts(ours + runs_of("piggyback", (0, 0, 0)) + runs_of("head-only", (0.1, 0.1, 0.1)))
    assert below["ksm-above-piggyback"].verdict == "holds"


def test_what_is_built_in_is_judged_by_the_sound_configurations_where_there_are_any() -> None:
    guessed = [record("ksm", 0, [0.2] * 4, spec={"bn_policy": "frozen"}, run_id="guessed")]
    evidence = _verdicts(guessed + runs_of("ksm", (0.0,)))["ksm-no-forgetting"]
    assert (evidence.verdict, evidence.compared) == ("holds", ("KSM (BN per-task)",))
    assert _verdicts(guessed)["ksm-no-forgetting"].verdict == "not judged"


def test_every_claim_answers_on_any_panel_and_names_are_unique() -> None:
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    for runs in ([record("my-plugin", 0, (0.5,))], [record("ksm", 0, BASE), record("piggyback", 7, BASE)]):
        verdicts = {item.claim.key: item.evidence.verdict for item in check_claims(panel_of(runs), CLAIMS)}
        assert set(verdicts.values()) <= {"holds", "fails", "undecided", "not judged", "not run"}
    assert verdicts["ksm-above-piggyback"] == "undecided"  # no seed in common
