"""Measurements of ``perf`` on the page: read, compared by hand-made numbers, drawn, and damaged ones named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from report_records import record, save
from step_rows import row_of

from benchmark.perf.text_tables import SETTING, as_csv
from reports.build import build
from reports.papers.ksm_steps import why
from reports.step_times import StepRow, load_steps, over
from reports.tables.step_sheet import steps_sheet
from results.atomic import write_json, write_text

#: KSM spends 2 ms on masks and 0.5 ms in the optimizer, Piggyback 1 and 1
KSM = {"data": 0.0, "forward": 0.4, "backward": 0.35, "masks": 0.2, "optimizer": 0.05, "loop": 0.0}
PIGGYBACK = {"data": 0.0, "forward": 0.4, "backward": 0.35, "masks": 0.125, "optimizer": 0.125, "loop": 0.0}


def table(ksm_ms: float = 10.0) -> str:
    """A measurement as ``perf --out`` writes it."""
    setting = dict.fromkeys(SETTING, "") | {"scenario": "cifar100-20", "backbone": "vgg16_bn", "width": "0.5"}
    setting |= {"precision": "fp32", "compile": "off", "device": "Test CPU", "threads": "2"}
    rows = [
        row_of("finetune (adam)", 9.0, bn_policy="per-task", ratio=1.0, shares=KSM, trained=90),
        row_of("ksm, BN per-task", ksm_ms, bn_policy="per-task", ratio=ksm_ms / 9, shares=KSM, trained=10),
        row_of("ksm, BN frozen", 9.0, bn_policy="frozen", ratio=1.0, shares=KSM, trained=10),
        row_of("piggyback, BN frozen", 8.0, bn_policy="frozen", ratio=8 / 9, shares=PIGGYBACK, trained=90),
        row_of("plain loop", 8.5, kind="peer", ratio=8.5 / 9),
    ]
    return as_csv(rows, setting)


def test_steps_are_read_with_their_parts_in_milliseconds(tmp_path: Path) -> None:
    write_text(tmp_path / "perf" / "half-width" / "step.csv", table())
    (steps,), left_out = load_steps(tmp_path)
    assert left_out == ()
    assert (steps.name, steps.key) == ("perf/half-width", "steps-perf-half-width")
    assert steps.setting == "cifar100-20, vgg16_bn of width 0.5, fp32"
    assert steps.device == "Test CPU, 2 threads"
    ksm = steps.rows[1]
    assert (ksm.method, ksm.bn_policy, ksm.trained) == ("ksm", "per-task", 10)
    assert ksm.parts["masks"] == pytest.approx(2.0)
    assert steps.rows[4].parts == {}


def test_why_kernel_masks_are_no_faster_is_said_part_by_part(tmp_path: Path) -> None:
    write_text(tmp_path / "step.csv", table())
    (steps,), _ = load_steps(tmp_path)
    same, own, reason = why(steps)
    # 9 x 0.2 - 8 x 0.125 = +0.8 ms of masks, 9 x 0.05 - 8 x 0.125 = -0.55 ms in the optimizer
    assert same == (
        "KSM over Piggyback, BN frozen in both, batch 32: 1.12× (ratio of medians) (9 and 8 ms; by part, "
        "ms: data 0.00, forward +0.40, "
        "backward +0.35, masks +0.80, optimizer −0.55, loop 0.00)."
    )
    assert own.endswith("batch 32: 1.25× (ratio of medians).")
    assert reason.startswith("KSM trains 9 times fewer numbers")
    assert reason.endswith("12 % of Piggyback's step here. Training BN takes time too.")


def test_one_step_over_another_is_the_median_of_paired_ratios() -> None:
    """Three rounds: 2/1, 3/2 and 8/4. The median of the ratios is 2; the ratio of the medians, 3/2, is not it."""
    row = StepRow("a", "method", "adam", "", 32, 3.0, 2.0, 8.0, None, None, (2.0, 3.0, 8.0), {}, None, None, None)
    other = dataclasses.replace(row, ms=2.0, rounds=(1.0, 2.0, 4.0))
    assert over(row, other) == "2.00× [1.50, 2.00]"
    assert over(row, dataclasses.replace(other, rounds=())) == "1.50× (ratio of medians)"


def test_sheet_names_methods_as_printed_and_leaves_gaps_for_peers(tmp_path: Path) -> None:
    write_text(tmp_path / "step.csv", table())
    (steps,), _ = load_steps(tmp_path)
    sheet = steps_sheet(steps)
    assert [line.head.text for line in sheet.lines] == ["Fine-tune (adam)", "KSM", "KSM", "Piggyback", "plain loop"]
    assert all(len(line.entries) == len(sheet.headings) - 1 for line in sheet.lines)
    assert sheet.lines[4].entries[0].text == "–"


@pytest.mark.parametrize("damage", ["", "method,kind\nksm,method\n", "\x00\x01"])
def test_damaged_measurement_is_named_and_the_report_is_built(damage: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    one = record("ksm", 0, (0.5, 0.6))
    write_json(results / one.run_id / "result.json", one.to_json())
    write_text(results / "perf" / "good" / "step.csv", table())
    write_text(results / "perf" / "bad" / "step.csv", damage)
    built = build(results, tmp_path / "out")
    assert [line for line in built.left_out if line.startswith("perf/bad/step.csv: it is no table of")]
    assert "steps-perf-good" in built.tables
    assert "steps-perf-good-figure" in built.figures
    page = built.index.read_text(encoding="utf-8")
    assert "Training steps: perf/good" in page
    assert "KSM over Piggyback, BN frozen in both" in page


def test_other_measurements_of_perf_stand_on_the_page(tmp_path: Path) -> None:
    """What --scale and --measuring printed, folded and escaped, with its picture; what is no text is left out."""
    folder = tmp_path / "runs"
    save(folder, [record("ksm", 0, [0.5, 0.6])])
    (folder / "perf" / "scale").mkdir(parents=True)
    (folder / "perf" / "scale" / "scale.txt").write_text("ksm  0.10 s <b>\n")
    (folder / "perf" / "scale" / "scale.png").write_bytes(b"\x89PNG\r\n")
    (folder / "measuring.txt").write_text("60 pairs\n")
    (folder / "equations.txt").write_bytes(b"\xff\xfe")
    text = build(folder, tmp_path / "report").index.read_text(encoding="utf-8")
    assert "From few tasks to many: time, memory and bytes (perf/scale)" in text
    assert "<pre>ksm  0.10 s &lt;b&gt;</pre>" in text and 'src="data:image/png;base64,iVBORw0K' in text
    assert "What the measuring itself costs</summary><pre>60 pairs</pre>" in text
    assert "fast path" not in text
