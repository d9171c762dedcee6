"""What users would use instead: a plain PyTorch loop, Avalanche's default path and PackNet, naive mask layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.perf.contenders import Contender, NotAvailable, OnePass
from benchmark.perf.naive import with_masks
from benchmark.perf.workload import Workload
from methods.engine.tensor_data import ImageDataset

LR = 1e-4


def _with_head(backbone: nn.Module, workload: Workload) -> nn.Sequential:
    head = nn.Linear(int(backbone.feature_dim), workload.pixels.classes).to(workload.device)  # type: ignore[arg-type]
    return nn.Sequential(backbone, head)


def _trained(network: nn.Module) -> list[Tensor]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def plain_loop(network: nn.Module, workload: Workload) -> OnePass:
    """The loop that everybody writes, with the same batches and fused Adam; it adds up the loss, nothing else."""
    optimizer = torch.optim.Adam(_trained(network), lr=LR, fused=True)
    images = workload.train_images()
    order, augmentation = workload.generators()
    autocasts = workload.spec.precision == "bf16"
    if workload.spec.compile == "backbone":
        network[0].compile()  # type: ignore[index]

    def one_pass() -> object:
        network.train()
        total = torch.zeros((), device=workload.device)
        for inputs, labels in images.training_batches(workload.batch_size, order, augmentation):
            optimizer.zero_grad()
            with torch.autocast(workload.device.type, torch.bfloat16, enabled=autocasts):
                logits = network(inputs)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach()
        return float(total)

    return one_pass


def _plain(workload: Workload) -> OnePass:
    return plain_loop(_with_head(workload.backbone(), workload), workload)


class _FrozenBatchNorm(nn.Sequential):
    """A network whose BN stays in evaluation mode while it trains."""

    def train(self, mode: bool = True) -> _FrozenBatchNorm:
        """As ``nn.Module.train``, but for BN."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def _naive_ksm(workload: Workload) -> OnePass:
    return plain_loop(_with_head(with_masks(workload.backbone(), kernel_wise=True), workload), workload)


def _naive_piggyback(workload: Workload) -> OnePass:
    network = _with_head(with_masks(workload.backbone(), kernel_wise=False), workload)
    return plain_loop(_FrozenBatchNorm(*network), workload)


def _experiences(workload: Workload, count: int) -> list[Any]:
    """``count`` tasks of the same images."""
    from avalanche.benchmarks import benchmark_from_datasets, task_incremental_benchmark
    from avalanche.benchmarks.utils import as_classification_dataset

    images = workload.train_images()
    # on the CPU, where its loader takes images one by one: from a GPU every one of them would be waited for
    datasets = [as_classification_dataset(ImageDataset(images.on_the_host()))] * count
    stream = list(task_incremental_benchmark(benchmark_from_datasets(train=datasets)).streams["train"])
    for experience in stream:
        experience.classes_in_this_experience = list(range(workload.pixels.classes))
    return stream


def _require_fp32(workload: Workload) -> None:
    if workload.spec.precision == "bf16" or workload.spec.compile != "off":
        raise NotAvailable("Avalanche's own strategies are measured in eager fp32 only")


def _avalanche(workload: Workload) -> OnePass:
    """Naive strategy, its own data loader (no worker processes), accuracy and loss per epoch; no augmentation."""
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import Naive

    _require_fp32(workload)
    network = _with_head(workload.backbone(), workload)
    strategy = Naive(
        model=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=LR, fused=True),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=workload.batch_size,
        train_epochs=1,
        device=workload.device,
        evaluator=EvaluationPlugin(accuracy_metrics(epoch=True), loss_metrics(epoch=True)),
    )
    (experience,) = _experiences(workload, 1)
    return lambda: strategy.train(experience, eval_streams=[])


def without_batch_norm(network: nn.Module) -> nn.Module:
    """``network`` with every BN replaced by the identity and a bias on every convolution, in place.

    What Avalanche's PackNet accepts: it refuses BN and crashes on convolutions without bias.
    """
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d) and child.bias is None:
                child.bias = nn.Parameter(torch.zeros(child.out_channels, device=child.weight.device))
    return network


def _plain_without_bn(workload: Workload) -> OnePass:
    return plain_loop(_with_head(without_batch_norm(workload.backbone()), workload), workload)


def _avalanche_packnet(workload: Workload) -> OnePass:
    """Its first task before pruning, on the backbone without BN, through its default path."""
    from avalanche.models.packnet import PackNetModel
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import PackNet

    _require_fp32(workload)
    model = PackNetModel(_with_head(without_batch_norm(workload.backbone()), workload))
    strategy = PackNet(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=LR, fused=True),
        post_prune_epochs=1,
        prune_proportion=0.5,
        train_mb_size=workload.batch_size,
        train_epochs=2,
        device=workload.device,
        evaluator=EvaluationPlugin(),
    )
    # it learns a task once; a task is one epoch of training and one after pruning
    tasks = iter(_experiences(workload, 200))
    return lambda: strategy.train(next(tasks), eval_streams=[])


def peers(workload: Workload) -> list[Contender]:
    """Every peer, for the backbone of ``workload``."""
    makers: dict[str, Callable[[Workload], OnePass]] = {
        "plain loop": _plain,
        "naive ksm": _naive_ksm,
        "naive piggyback": _naive_piggyback,
        "avalanche default": _avalanche,
        "plain loop, no BN": _plain_without_bn,
        "avalanche packnet, no BN": _avalanche_packnet,
    }
    return [
        Contender(name, "adam", "peer", make, workload, epochs=2 if make is _avalanche_packnet else 1)
        for name, make in makers.items()
    ]
