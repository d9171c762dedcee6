"""Optimizers as data, so that a phase can be stated, recorded and resumed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from methods.engine.schedule import Schedule
from methods.settings import OPTIMIZERS


@dataclass(frozen=True)
class Group:
    """Tensors that one optimizer updates at one base rate."""

    tensors: Sequence[Tensor]
    optimizer: str
    lr: float
    schedule: Schedule
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    #: factors on the rate after the first, the second, … fall of a plateau rule, the last one for all later falls;
    #: empty: the rule's own
    falls: tuple[float, ...] = ()


class Optimizers(torch.optim.Optimizer):
    """Several torch optimizers behind the interface of one (Avalanche and its plugins see a single optimizer).

    ``clip``: the largest norm of all gradients together; where it is larger, all are scaled down before the update.
    """

    def __init__(self, groups: Iterable[Group], clip: float | None = None) -> None:
        self.clip = clip
        #: what a plateau rule multiplies rates by, and how often it has lowered them
        self.reduced = 1.0
        self.falls = 0
        self.groups = [group for group in groups if len(group.tensors)]
        self.members = [_optimizer(kind, self.groups) for kind in OPTIMIZERS if _of(kind, self.groups)]
        ordered = [group for kind in OPTIMIZERS for group in _of(kind, self.groups)]
        #: whose rate, 1 unless a script's scheduler changes it, multiplies all rates
        self.handle: torch.optim.Optimizer | None = None
        self.schedules = [(group.lr, group.schedule, group.falls) for group in ordered]
        super().__init__([tensor for group in ordered for tensor in group.tensors], {})
        self.param_groups = [entry for member in self.members for entry in member.param_groups]
        self.set_rates(0)

    def set_rates(self, epoch: int, fraction: float = 0.0) -> None:
        """Put each group's learning rate where its schedule has it."""
        scale = 1.0 if self.handle is None else float(self.handle.param_groups[0]["lr"])
        for entry, (lr, schedule, falls) in zip(self.param_groups, self.schedules, strict=True):
            entry["lr"] = lr * schedule.factor(epoch, fraction) * scale * self._reduction(falls)

    def _reduction(self, falls: tuple[float, ...]) -> float:
        if not falls:
            return self.reduced
        return falls[min(self.falls, len(falls)) - 1] if self.falls else 1.0

    @property
    def per_iteration(self) -> bool:
        """True when some rate changes within an epoch."""
        return any(schedule.per_step for _, schedule, _ in self.schedules)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every group; groups at rate 0 stay as they are, moments included."""
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_([tensor for group in self.groups for tensor in group.tensors], self.clip)
        for member in self.members:
            if any(entry["lr"] for entry in member.param_groups):
                member.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        for member in self.members:
            member.zero_grad(set_to_none=set_to_none)

    def stop_momentum(self, tensor: Tensor, moving: Tensor) -> None:
        """Zero the momentum of ``tensor`` where the bool ``moving`` is False, so that nothing drifts on there."""
        for member in self.members:
            buffer = member.state.get(tensor, {}).get("momentum_buffer")
            if buffer is not None:
                buffer.mul_(moving)

    def tensors(self) -> dict[str, Tensor]:
        """The optimizers' moments and counters, by a flat name, for a checkpoint; no copies."""
        found: dict[str, Tensor] = {}
        for position, member in enumerate(self.members):
            for index, state in member.state_dict()["state"].items():
                for key, value in state.items():
                    if value is not None:
                        found[f"{position}.{index}.{key}"] = torch.as_tensor(value).detach()
        return found

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what ``tensors`` gave."""
        for position, member in enumerate(self.members):
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                owner, index, key = name.split(".", 2)
                if int(owner) == position:
                    state.setdefault(int(index), {})[key] = value
            member.load_state_dict({"state": state, "param_groups": member.state_dict()["param_groups"]})
        # torch makes new groups when it loads: rates must reach these, not the old ones
        self.param_groups = [entry for member in self.members for entry in member.param_groups]


def _of(kind: str, groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if group.optimizer == kind]


def _optimizer(kind: str, groups: Sequence[Group]) -> torch.optim.Optimizer:
    """One torch optimizer for all groups of a kind. ``fused`` does the whole update in one pass over memory."""
    if kind == "adam":
        return torch.optim.Adam(
            [
                {"params": list(group.tensors), "lr": group.lr, "weight_decay": group.weight_decay}
                for group in _of(kind, groups)
            ],
            fused=True,
        )
    return torch.optim.SGD(
        [
            {
                "params": list(group.tensors),
                "lr": group.lr,
                "momentum": group.momentum,
                "nesterov": group.nesterov and group.momentum > 0,
                "weight_decay": group.weight_decay,
            }
            for group in _of(kind, groups)
        ],
        fused=True,
    )
