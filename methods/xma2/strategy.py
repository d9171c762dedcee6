"""XMA²: tier 1 finds the tiles that a task needs written anew, tier 2 trains these and a scale for every other column.

Tier 1: W_eff = W + B D with a change D of every weight and a mask B of whole tiles, [M >= tau] with KSM's derivative.
Tier 2: W_eff = W + D in the kept tiles of the largest changes, s W in the columns of all others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from methods.engine import masks
from methods.engine.frozen import FrozenBackbone
from methods.engine.layout import layout_of
from methods.engine.masked import SCORES
from methods.engine.optimise import Group, Optimizers
from methods.engine.packing import pack_bits
from methods.engine.parts import HEAD, Part, Parts, overrides
from methods.engine.schedule import Schedule
from methods.engine.state import LearningTask, Plan
from methods.settings import MaskSettings
from methods.xma2.card import CELLS, SHARE, XMA2Settings
from methods.xma2.card import XMA2 as CARD
from methods.xma2.tiles import CHANGES, SCALES, SHAPE, TILES, Places, chosen_tiles, rewritten, tiling

#: the mask of tiles: one score each, the sigmoid's derivative, no soft values
TILE_MASK = MaskSettings(soft="none")

#: of the task under way: which tiles are written anew, bool (tiles,)
CHOSEN = "chosen"


class XMA2(FrozenBackbone):
    """Changes of some tiles, scales of other columns, one head and (BN policy "per-task") one BN set per task."""

    card = CARD
    settings: XMA2Settings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        settings = self.settings
        self.use_layout(layout_of(self.view.backbone, "block", "block", rows=settings.tile_rows))
        self._places: Places  #: of the task under way, once its tiles are chosen
        self.tiling = tiling(self.layout, settings.tile_rows, settings.tile_columns, self.device)

    def begin(self, task: LearningTask) -> None:
        """No change in any tile, all tiles kept: the backbone."""
        super().begin(task)
        changes = torch.zeros(self.layout.elements, device=self.device)
        scores = torch.full((self.tiling.tiles,), TILE_MASK.initial, device=self.device)
        self.state.current |= {CHANGES: changes.requires_grad_(), SCORES: scores.requires_grad_()}

    def learn(self, task: LearningTask) -> None:
        """Tier 1, the choice of tiles, tier 2; without tiles to write anew only tier 2."""
        assert self.progress is not None
        settings = self.settings
        if settings.share:
            constant = Schedule("constant", settings.tile_epochs)
            self.fit(task, "tier 1", lambda: self._plan("train", settings.tile_epochs, constant, keep_best=False))
        self.progress.once("choose", self._choose)
        self._places = self.tiling.places(self.current[CHOSEN])
        falling = Schedule(settings.schedule, settings.epochs, settings.milestones, settings.gamma)
        self.fit(task, "tier 2", lambda: self._plan("retrain", settings.epochs, falling))

    def _plan(self, phase: str, epochs: int, schedule: Schedule, **about: Any) -> Plan:
        settings = self.settings
        changes = self.current[CHANGES]
        rates = {SCORES: settings.tile_lr, SCALES: settings.scale_lr}

        def rate(name: str) -> float:
            return rates.get(name, settings.head_lr if name.startswith(HEAD) else settings.lr)

        groups = self.frozen_groups(lambda name: (rate(name), schedule), leave_out=(CHANGES,))
        decay, momentum = settings.weight_decay, settings.momentum
        groups.append(Group([changes], "sgd", settings.weight_lr, schedule, momentum, True, decay))
        cost = self._add_cost if SCORES in self.current and settings.tile_cost else None
        return Plan(phase, epochs, Optimizers(groups, settings.clip), after_backward=cost, **about)

    def _add_cost(self) -> None:
        """The gradient of ``tile_cost`` times the share of kept tiles."""
        scores = self.current[SCORES]
        assert scores.grad is not None
        each = torch.full_like(scores, self.settings.tile_cost / len(scores))
        scores.grad += masks.sigmoid(each, scores.detach(), TILE_MASK)

    @torch.no_grad()
    def _choose(self) -> int:
        """Keep the changes of the chosen tiles, drop all others, and begin to scale columns. How many tiles."""
        current = self.current
        scores, changes = current.pop(SCORES).detach(), current.pop(CHANGES).detach()
        kept = masks.above_threshold(scores, self.tiling.columns, TILE_MASK)
        chosen = chosen_tiles(self.tiling.squared_norms(changes), scores, kept, self.settings.share)
        self._places = self.tiling.places(chosen)
        current[CHOSEN] = chosen
        current[CHANGES] = changes[self._places.changes].requires_grad_()
        current[SCALES] = torch.ones(len(self._places.scales), device=self.device).requires_grad_()
        return int(chosen.sum())

    def training_tensors(self) -> dict[str, Tensor]:
        """Effective weights of the tier under way, differentiable in what it trains, and the task's BN set."""
        own, current = overrides(self.current), self.current
        if CHANGES not in current:
            return own
        weights, columns = self.frozen_weights, self.tiling.columns
        if CHOSEN in current:
            return rewritten(weights, self.tiling, self._places, current[CHANGES], current[SCALES]) | own
        kept = self.tiling.per_column(masks.binary_mask(current[SCORES], columns, TILE_MASK))
        changes = masks.masked(current[CHANGES], kept, columns)
        return {name: weight + changes[name] for name, weight in columns.views(weights).items()} | own

    @torch.no_grad()
    def keep(self, task: LearningTask) -> Parts:
        """One bit per tile, the changes in those written anew, the scales of the other tiles' columns."""
        kept, current = super().keep(task), self.current
        bits = pack_bits(current[CHOSEN])
        kept[TILES] = Part(bits, "tile bits", "which tiles are written anew", 1, self.tiling.tiles, "bit")
        kept[CHANGES] = Part(current[CHANGES].detach().clone(), "tile changes", "changes of the weights in these tiles")
        kept[SCALES] = Part(current[SCALES].detach().clone(), "column scales", "scales of the other tiles' columns")
        shape = torch.tensor([self.settings.tile_rows, self.settings.tile_columns], dtype=torch.int32)
        kept[SHAPE] = Part(shape.to(self.device), "tile shape", "rows and columns of a tile")
        return kept

    def measures(self) -> dict[str, float]:
        """Weights in tiles that are written anew, one cell each."""
        changed = [parts[CHANGES].numbers for parts in self.learned.values() if CHANGES in parts]
        weights = len(changed) * self.layout.elements
        return {CELLS.name: float(sum(changed)), SHARE.name: 100 * sum(changed) / weights if weights else 0.0}
