"""What a record says one answer costs, against sums by hand; and where it is shown."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from report_records import record, save
from small_runs import run_here, small_options, small_spec

from benchmark.measure.flops import counting_flops
from reports.build import build
from reports.explore import data
from reports.grouping import group
from results.reader import read_runs

#: the small net on 8 x 8 grey digits, a multiplication and an addition being two: three 3 x 3 convolutions, the last
#: one after a pooling to 4 x 4, and a head of two classes
CONVOLUTIONS = 2 * 9 * (1 * 32 * 64 + 32 * 64 * 64 + 64 * 64 * 16)
HEAD = 2 * 64 * 2


@pytest.mark.parametrize("method", ["finetune", "packnet", "ksm", "supsup"])
def test_a_dense_forward_pass_costs_the_same_whatever_the_mask(method: str, tmp_path: Path) -> None:
    found, _ = run_here(small_spec(method, tasks=2, epochs=1), small_options(tmp_path))
    assert found.forward_flops == CONVOLUTIONS + HEAD == 3_576_064


def test_attention_is_counted_whatever_kernel_would_do_it() -> None:
    """16 tokens of 8 numbers, two heads: four projections, and two products of 16 x 16 by the 4 numbers of a head."""
    layer = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tokens = torch.zeros(1, 16, 8)
    fast = torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad(), counting_flops() as counter:
        layer(tokens, tokens, tokens, need_weights=False)
    assert counter.get_total_flops() == 2 * (4 * 16 * 8 * 8 + 2 * 2 * 16 * 16 * 4) == 16_384 == 2 * 8_192
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_operations_are_an_axis_and_a_column_where_records_have_them(tmp_path: Path) -> None:
    runs = [
        dataclasses.replace(record(method, seed, [0.5, 0.6]), forward_flops=3_576_064)
        for method in ("ksm", "packnet")
        for seed in (0, 1)
    ]
    folder = save(tmp_path / "with", runs)
    build(folder, tmp_path / "page")
    with (tmp_path / "page" / "runs.csv").open(encoding="utf-8") as file:
        assert {line["forward_flops"] for line in csv.DictReader(file)} == {"3576064"}
    found = data(group(read_runs(folder).records)[0])
    assert found is not None and found["axes"]["flops"]["unit"] == "GFLOP"
    assert {point["flops"] for point in found["points"]} == {0.00357606}
    older = data(group([record("ksm", seed, [0.5]) for seed in range(3)])[0])
    assert older is not None and "flops" not in json.dumps(older["axes"])
