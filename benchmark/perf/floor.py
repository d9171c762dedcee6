"""The floor of a step: its arithmetic and its least traffic, over the rates that this device reaches."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.measure.flops import counting_flops
from benchmark.perf.contenders import Session
from benchmark.perf.workload import Workload
from methods.engine import batchnorm
from methods.engine.parts import HEAD_BIAS, HEAD_WEIGHT

#: side of the square matrices whose product is timed: large enough to keep the device busy, small enough to be quick
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}
#: bytes of the buffer whose copy is timed
BUFFER_BYTES = 1 << 28


@dataclass(frozen=True)
class Rates:
    """What the device does per second: floating-point operations of a matrix product, bytes read and written."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class StepCount:
    """One training step.

    Attributes:
        flops: of convolutions and matrix products, forward and backward, a multiplication and an addition being two.
        bytes: the least that must be moved: what the forward pass saves for the backward pass (activations and
            weights) is written or read, and read again; every trained number costs its gradient written and read, and
            parameter and moments (Adam two, SGD one) read and written.
        trained: numbers that the optimizer goes through; of PackNet and CPG all weights, whoever owns them.
    """

    flops: int
    bytes: int
    trained: int

    def milliseconds(self, rates: Rates) -> tuple[float, float]:
        """(arithmetic, traffic) at these rates; the step cannot be quicker than the larger one."""
        return self.flops / rates.flops * 1000, self.bytes / rates.bytes * 1000


def measured_rates(workload: Workload) -> Rates:
    """The best of several tries of a matrix product and of a copy, in the workload's precision."""
    dtype = torch.bfloat16 if workload.spec.precision == "bf16" else torch.float32
    side = MATRIX_SIDE[workload.device.type]
    left = torch.randn(side, side, device=workload.device).to(dtype)
    source = torch.zeros(BUFFER_BYTES // 4, device=workload.device)
    target = torch.empty_like(source)
    product = _best(lambda: left @ left, workload)
    copy = _best(lambda: target.copy_(source), workload)
    return Rates(2 * side**3 / product, 2 * BUFFER_BYTES / copy)


def _best(work: Any, workload: Workload, tries: int = 10) -> float:
    times = []
    for _ in range(tries):
        workload.synchronise()
        started = time.perf_counter()
        work()
        workload.synchronise()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def count_step(session: Session, workload: Workload) -> StepCount:
    """Count one step of a method; it changes nothing but BN statistics."""
    strategy = session.strategy
    order, augmentation = workload.generators()
    inputs, labels = next(workload.train_images().training_batches(workload.batch_size, order, augmentation))
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    batchnorm.set_modes(strategy.view, training=True, bn_trains=strategy.bn_trains)
    with counting_flops() as counter, torch.autograd.graph.saved_tensors_hooks(note, lambda item: item):
        tensors = strategy.training_tensors()
        strategy.view.activate(tensors, strategy.current[HEAD_WEIGHT], strategy.current[HEAD_BIAS])
        loss = torch.nn.functional.cross_entropy(strategy.view(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
    session.plan.optimizers.zero_grad()
    traffic, trained = 2 * sum(saved.values()), 0
    for group in session.plan.optimizers.groups:
        numbers = sum(tensor.numel() for tensor in group.tensors)
        moments = 2 if group.optimizer == "adam" else 1
        traffic += 4 * numbers * (2 + 2 + 2 * moments)
        trained += numbers
    return StepCount(int(counter.get_total_flops()), traffic, trained)
