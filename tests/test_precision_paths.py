"""bf16 autocast and the compiled backbone against eager fp32, on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import run_here, small_options, small_spec
from torch import Tensor, nn

from benchmark.backbones.builder import build
from methods.engine import masks
from methods.engine.layout import layout_of
from methods.engine.network import TaskView
from methods.settings import MaskSettings

COMPILER = shutil.which("g++") or shutil.which("clang++")


def _scores_gradient(
    seed: int = 1, view_of: Any = TaskView, device: str = "cpu", **options: Any
) -> tuple[Tensor, Tensor]:
    """(logits, gradient of the scores) of one KSM step on the small net."""
    torch.manual_seed(0)
    backbone = build("small_cnn", width=0.25).to(device)
    layout = layout_of(backbone, "kernel")
    weights = layout.flatten(dict(backbone.named_parameters()))
    generator = torch.Generator().manual_seed(seed)
    scores = (0.005 + 0.02 * torch.randn(layout.units, generator=generator)).to(device).requires_grad_()
    view = view_of(backbone, **options)
    head = torch.randn(4, 16, generator=generator).to(device)
    images = torch.randn(16, 3, 8, 8, generator=generator).to(device)
    labels = (torch.arange(16) % 4).to(device)
    view.train()
    view.activate(masks.effective_weights(scores, weights, layout, MaskSettings()), head, torch.zeros_like(head[:, 0]))
    logits = view(images)
    nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    return logits.detach(), scores.grad


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_bf16_stays_within_its_resolution_of_fp32() -> None:
    logits, gradient = _scores_gradient()
    low_logits, low_gradient = _scores_gradient(precision="bf16")
    assert low_logits.dtype == low_gradient.dtype == torch.float32
    # eight bits of mantissa: a few thousandths per operation, more in gradients, whose terms cancel
    assert 0 < _relative(low_logits, logits) < 0.02
    assert 0.98 < float(nn.functional.cosine_similarity(low_gradient, gradient, dim=0)) < 1


def test_bf16_is_the_backbones_alone_the_head_stays_fp32() -> None:
    torch.manual_seed(0)
    view = TaskView(build("small_cnn", width=0.25), precision="bf16").eval()
    head, images = torch.randn(4, 16), torch.randn(16, 3, 8, 8)
    view.activate({}, head, torch.zeros(4))
    with torch.autocast("cpu", torch.bfloat16):
        features = view.features(images)
    assert torch.equal(view(images), nn.functional.linear(features.float(), head))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("options", [{"precision": "tf32"}, {"precision": "bf16"}, {"compiled": True}])
def test_fast_paths_of_a_gpu_stay_near_eager_fp32(options: dict[str, Any]) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        logits, gradient = _scores_gradient(device="cuda")
        matmul.allow_tf32 = cudnn.allow_tf32 = options.get("precision") == "tf32"
        other_logits, other_gradient = _scores_gradient(device="cuda", **options)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
    assert _relative(other_logits, logits) < 0.02
    assert float(nn.functional.cosine_similarity(other_gradient, gradient, dim=0)) > 0.98


def test_compiling_never_falls_back_to_eager_in_silence() -> None:
    import torch._dynamo.config as dynamo

    with dynamo.patch(recompile_limit=8, fail_on_recompile_limit_hit=False):
        TaskView(build("small_cnn", width=0.25), compiled=True)
        assert dynamo.fail_on_recompile_limit_hit
        assert dynamo.recompile_limit >= 64


@pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler on the CPU, there is none")
def test_compiled_backbone_computes_what_the_eager_one_does() -> None:
    views: list[TaskView] = []

    def compiled_once(backbone: nn.Module) -> TaskView:
        if not views:
            views.append(TaskView(backbone, compiled=True))
        return views[0]

    for seed in (1, 2):  # the second time with other masks and the code compiled for the first
        logits, gradient = _scores_gradient(seed)
        compiled_logits, compiled_gradient = _scores_gradient(seed, compiled_once)
        assert _relative(compiled_logits, logits) < 1e-5
        assert _relative(compiled_gradient, gradient) < 1e-4


@pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler on the CPU, there is none")
def test_compiled_run_comes_out_as_the_eager_one_and_its_compile_time_lies_in_the_warm_up(tmp_path: Path) -> None:
    torch.compiler.reset()
    eager, _ = run_here(small_spec("ksm", tasks=2, epochs=8), small_options(tmp_path))
    compiled, _ = run_here(small_spec("ksm", tasks=2, epochs=8, compile="backbone"), small_options(tmp_path))
    assert compiled.spec["compile"] == "backbone"
    assert compiled.run_id != eager.run_id
    for ours, theirs in zip(compiled.tasks, eager.tasks, strict=True):
        assert ours.accuracy == pytest.approx(theirs.accuracy, abs=0.05)
    warm_up = compiled.seconds["warm-up"] + sum(task.seconds.get("warm-up", 0.0) for task in compiled.tasks)
    assert warm_up > 10 * eager.seconds["warm-up"]
    # a compilation takes seconds, this training a fraction of one
    assert compiled.tasks[1].seconds["train"] < warm_up


def test_bf16_run_learns_what_the_fp32_one_does(tmp_path: Path) -> None:
    fp32, _ = run_here(small_spec("ksm", tasks=2, epochs=8), small_options(tmp_path))
    bf16, _ = run_here(small_spec("ksm", tasks=2, epochs=8, precision="bf16"), small_options(tmp_path))
    assert bf16.spec["precision"] == "bf16"
    for ours, theirs in zip(bf16.tasks, fp32.tasks, strict=True):
        assert ours.accuracy == pytest.approx(theirs.accuracy, abs=0.1)


def test_names_and_bytes_of_a_compiled_backbone_stay() -> None:
    backbone = build("small_cnn", width=0.25)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    after = TaskView(backbone, compiled=True).backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="fp8"):
        TaskView(nn.Identity(), "fp8")


@pytest.mark.parametrize("scale", [0.5, 0.3])
def test_fused_soft_values_are_those_of_the_rule_layer_by_layer(scale: float) -> None:
    from methods.engine.fast.blocks import cut
    from methods.engine.fast.passes import release_by_blocks
    from methods.engine.layout import arrange
    from methods.engine.soft_values import SOFT_RULES

    layout = arrange([("fc", (40, 3), 1), ("tiny", (1, 1), 1), ("conv", (50, 30, 3, 3), 9)])
    rule = SOFT_RULES["release"]
    assert rule is not None
    generator = torch.Generator().manual_seed(2)
    for shift in (-1.0, 0.005, 1.0):  # all dropped, mixed, all kept
        scores = shift + 0.02 * torch.randn(layout.units, generator=generator)
        scores[::7] = 0.0
        kept = scores >= 0.005
        expected = torch.cat([rule(scores[slot.unit_slice], kept[slot.unit_slice]) for slot in layout.slots]) * scale
        dropped = scores.masked_fill(kept, 0.0)
        blocks = cut(layout, 100)
        assert len(blocks) > 10
        values_of = release_by_blocks(blocks, lambda block, scores=dropped: scores[block.units].clone(), scale)
        found = torch.cat([values for _, values in values_of])
        if scale == 0.5:
            assert torch.equal(found, expected)
        else:
            torch.testing.assert_close(found, expected)
