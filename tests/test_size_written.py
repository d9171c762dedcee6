"""What is written is what is accounted for, to the byte, and a fresh process gets the same network back from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import FIVE, small_options, small_spec

from methods.registry import METHODS
from results.schema import RunRecord, SizeComponent

REPOSITORY = Path(__file__).resolve().parent.parent
POLICIES = ("frozen", "per-task")

#: read every task of every run folder with the export's code, compare with the logits that the run itself gave
RELOAD = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from benchmark.execute.stored_run import export_task, read_run
from methods import load_task

torch.set_num_threads(1)
for folder in map(Path, sys.argv[1:]):
    run = read_run(folder)
    expected = load_file(folder / "logits.safetensors")
    run.network.load_state_dict(run.backbone, strict=False)
    for row in run.record.tasks:
        export_task(run, row, folder / "task.exported")
        network = load_task(run.network, folder / "task.exported")
        with torch.no_grad():
            logits = network(network.normalise(expected[f"images{row.index}"]))
        assert torch.equal(logits, expected[f"logits{row.index}"]), f"{folder.name}, task {row.index}"
assert "avalanche" not in sys.modules
print("all equal")
"""


def run_with_logits(spec: Any, results: Path) -> tuple[RunRecord, Path]:
    """A run in this process; beside its record the final logits of 50 test images of every task."""
    import torch
    from safetensors.torch import save_file

    from benchmark.execute.runner import Runner
    from benchmark.execute.store import run_folder
    from methods.engine.tensor_data import TensorImages
    from results.atomic import write_json

    torch.set_num_threads(1)
    folder = run_folder(results, spec.run_id)
    folder.path.mkdir(parents=True)
    runner = Runner(spec, small_options(results), folder, lambda event: None)
    record = runner.run({})
    write_json(folder.record, record.to_json())
    expected = {}
    for index, prepared in runner.tasks.items():
        test = prepared.test
        images = test.images[:50]
        few = TensorImages(images, test.labels[:50], test.mean, test.std, test.augmenting)
        expected |= {f"images{index}": images.clone(), f"logits{index}": runner.strategy.logits(index - 1, few)}
    save_file(expected, str(folder.path / "logits.safetensors"))
    return record, folder.path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[RunRecord, Path]]:
    """Every method under both BN policies, and KSM with soft values stored shorter."""
    results = tmp_path_factory.mktemp("written")
    runs = {}
    for method in METHODS:
        for policy in POLICIES:
            spec = small_spec(method, epochs=1 if method == "cpg" else 2, bn_policy=policy)
            runs[method, policy] = run_with_logits(spec, results)
    for dtype in ("fp16", "int8"):
        spec = small_spec("ksm", overrides={"mask.values_dtype": dtype})
        runs["ksm", dtype] = run_with_logits(spec, results)
    return runs


def packed_bytes(component: SizeComponent) -> int:
    """Bytes of one packed tensor: whole bytes, rounded up."""
    return -(-component.count * component.bits // 8)


def test_size_written_bytes_are_the_components_and_the_stated_headers(
    written: dict[tuple[str, str], tuple[RunRecord, Path]],
) -> None:
    for key, (record, folder) in written.items():
        size = record.size
        assert size is not None
        itemised = sum(packed_bytes(component) for component in size.components)
        files = list((folder / "tasks").glob("*.safetensors"))
        headers = sum(8 + int.from_bytes(path.read_bytes()[:8], "little") for path in files)
        assert len(files) == len(record.tasks) + 1, key
        assert size.written_bytes == sum(path.stat().st_size for path in files), key
        assert size.header_bytes == headers, key
        assert size.written_bytes == itemised + size.header_bytes, key
        assert size.rules["itemised"] == itemised, key


def test_size_fresh_process_gets_bit_identical_logits_of_every_task(
    written: dict[tuple[str, str], tuple[RunRecord, Path]],
) -> None:
    folders = [str(folder) for _, folder in written.values()]
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, *folders],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "all equal"


def part(record: RunRecord, name: str, task: str | None = None) -> list[SizeComponent]:
    assert record.size is not None
    return [item for item in record.size.components if item.name == name and (task is None or item.task == task)]


def test_size_components_by_hand(written: dict[tuple[str, str], tuple[RunRecord, Path]]) -> None:
    """small_cnn on grey images: convolutions 1x32, 32x64, 64x64 of 3x3; BN of 32, 64, 64; heads of 64 x 2 + 2."""
    elements = 9 * (1 * 32 + 32 * 64 + 64 * 64)
    kernels = elements // 9
    bn = 4 * (32 + 64 + 64)
    ksm, _ = written["ksm", "per-task"]
    second = ksm.tasks[1].name
    assert part(ksm, "backbone")[0].bytes == 4 * (elements + bn)
    assert [item.count for item in part(ksm, "head")] == [64 * 2 + 2] * 3
    assert [(item.count, item.bits, item.bytes) for item in part(ksm, "mask bits", second)] == [
        (kernels, 1, -(-kernels // 8))
    ]
    assert [item.count for item in part(ksm, "own tensors", second)] == [bn]
    dropped = sum(item.soft + item.zeros for item in ksm.mask_statistics if item.task == second)
    assert dropped > 0
    assert [(item.count, item.bits) for item in part(ksm, "mask values", second)] == [(dropped, 32)]
    piggyback, _ = written["piggyback", "frozen"]
    assert [item.count for item in part(piggyback, "mask bits")] == [elements] * 2
    assert part(piggyback, "own tensors") == []
    packnet, _ = written["packnet", "per-task"]
    assert [(item.count, item.bits) for item in part(packnet, "owner index")] == [(elements, 2)]  # three tasks and free
    assert [item.count for item in part(packnet, "own tensors")] == [bn] * 3
    finetune, _ = written["finetune", "per-task"]
    assert [item.count for item in part(finetune, "own tensors")] == [elements + bn] * 2


def test_size_of_soft_values_follows_their_type(written: dict[tuple[str, str], tuple[RunRecord, Path]]) -> None:
    single, half, byte = (written["ksm", key][0] for key in ("per-task", "fp16", "int8"))
    task = single.tasks[1].name
    counts = [part(record, "mask values", task)[0].count for record in (single, half, byte)]
    assert counts[0] == counts[1] == counts[2] > 0
    assert [part(record, "mask values", task)[0].bytes // counts[0] for record in (single, half, byte)] == [4, 2, 1]
    assert part(single, "mask scales") == part(half, "mask scales") == []
    assert [item.count for item in part(byte, "mask scales", task)] == [3]  # one per convolution


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "int8"])
def test_size_soft_values_come_back_as_close_as_their_type_allows(dtype: str) -> None:
    import torch

    from methods.engine.layout import arrange
    from methods.engine.packing import pack_bits
    from methods.engine.parts import BITS, SCALES, VALUES
    from methods.engine.restore import stored_mask
    from methods.engine.values import encode

    layout = arrange([("a", (4, 2), 1), ("b", (6,), 2)])  # 8 units, then 3
    values = torch.tensor([0.0, 0.5, 0.1, 0.25, 0.0, -0.5, 0.3, 0.125, 0.003, 0.0, 0.001])
    bits = torch.tensor([1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], dtype=torch.bool)
    stored, scales = encode(values, bits, layout, dtype)
    kept = {BITS: pack_bits(bits), VALUES: stored} | ({} if scales is None else {SCALES: scales})
    back = stored_mask(kept, layout).values
    assert len(stored) == 9
    assert torch.equal(back[bits], torch.zeros(2))
    if dtype == "fp32":
        assert torch.equal(back, values)
    elif dtype == "fp16":
        assert torch.equal(back, values.half().float())
    else:
        assert scales is not None
        assert scales.tolist() == pytest.approx([0.5 / 127, 0.003 / 127])
        step = torch.tensor([0.5 / 127] * 8 + [0.003 / 127] * 3)
        assert ((back - values).abs() <= step / 2 * 1.0001).all()
        assert back[4] == 0.0


def test_size_layer_without_soft_values_gives_no_nan() -> None:
    import torch

    from methods.engine.layout import arrange
    from methods.engine.packing import pack_bits
    from methods.engine.parts import BITS, SCALES, VALUES
    from methods.engine.restore import stored_mask
    from methods.engine.values import encode

    layout = arrange([("a", (3,), 1)])
    bits = torch.zeros(3, dtype=torch.bool)
    stored, scales = encode(torch.zeros(3), bits, layout, "int8")
    assert scales is not None
    kept = {BITS: pack_bits(bits), VALUES: stored, SCALES: scales}
    assert torch.equal(stored_mask(kept, layout).values, torch.zeros(3))


def test_size_five_methods_keep_the_order_of_the_paper_on_small_masks(
    written: dict[tuple[str, str], tuple[RunRecord, Path]],
) -> None:
    totals = {name: written[name, METHODS[name].bn_policy][0].size for name in FIVE}
    itemised = {name: size.rules["itemised"] for name, size in totals.items() if size is not None}
    assert max(itemised, key=lambda name: itemised[name] or 0) == "finetune"  # whole networks
    assert itemised["packnet"] < itemised["cpg"]  # CPG's picks come on top of the owner index
