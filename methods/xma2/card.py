"""XMA² (Zhang, Yang, Meng, Seo, Cao and Fan, Frontiers in Electronics 2022), as far as its abstract tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from methods.card import PRETRAINED, Card, Look, Measure, Promises
from methods.engine.knobs import knob
from methods.settings import EPOCH_WORDS, FIXED_SCHEDULES, RATE_WORDS, Settings
from methods.space import Scaled
from methods.xbm.card import CAVEAT


@dataclass(frozen=True)
class XMA2Settings(Settings):
    """Tier 1 trains changes of all tiles and a mask that drops tiles; tier 2 goes on with the tiles that were kept."""

    epochs: int = knob(25, "length of tier 2, the main training phase", "epochs", above=0, also=EPOCH_WORDS)
    tile_epochs: int = knob(5, "length of tier 1, after which tiles are chosen", "epochs", at_least=1)
    tile_rows: int = knob(128, "rows of a crossbar: consecutive weights of one output (in, kh, kw)", at_least=1)
    tile_columns: int = knob(128, "columns of a crossbar: outputs", at_least=1)
    share: float = knob(0.1, "share of all tiles that a task writes anew, at most", at_most=1)
    tile_lr: float = knob(1e-4, "Adam's rate for the scores of tiles in tier 1")
    tile_cost: float = knob(0.0, "factor on the share of kept tiles that tier 1 adds to the loss")
    weight_lr: float = knob(5e-3, "rate of SGD for the changes of weights in both tiers")
    momentum: float = knob(0.9, "momentum of SGD, in Nesterov's form", below=1)
    weight_decay: float = knob(4e-5, "decay of the changes", also=("wd", "l2", "decay"))
    clip: float | None = knob(None, "largest norm of all gradients together; none: any", above=0)
    scale_lr: float = knob(1e-3, "Adam's rate for the scales of columns in tier 2")
    lr: float = knob(1e-4, "Adam's rate for a BN set per task", also=RATE_WORDS)
    head_lr: float = knob(1e-4, "Adam's rate for the task's head")
    schedule: str = knob("step", "of all rates in tier 2; tier 1 has constant ones", choices=FIXED_SCHEDULES)
    milestones: tuple[int, ...] = knob((12,), "epochs of tier 2 after which rates fall by gamma", "epochs")
    gamma: float = knob(0.1, "factor on the rates at each milestone")

    SCALED: ClassVar[tuple[str, ...]] = (*Settings.SCALED, "tile_epochs")

    @property
    def all_epochs(self) -> int:
        """Both tiers."""
        return self.epochs + self.tile_epochs


CELLS = Measure(
    "reprogrammed_cells", "Re-programmed cells", "weights", "weights of the tiles written anew, all tasks together"
)
SHARE = Measure(
    "reprogrammed_share",
    "Re-programmed share",
    "percent",
    "the same over the weights of the layers, on average over tasks",
)

XMA2 = Card(
    name="xma2",
    title="XMA²",
    summary="some crossbar tiles written anew, the columns of the others scaled (Frontiers in Electronics 2022)",
    strategy="methods.xma2.strategy:XMA2",
    settings=XMA2Settings(),
    paper="Zhang, Yang, Meng, Seo, Cao and Fan, XMA², Frontiers in Electronics 2022",
    published="2022-12",
    groups=("masks",),
    promises=Promises(frozen_backbone=True),
    restore="methods.xma2.tiles:rewritten_weights",
    protocols={
        "digits": {
            "tile_rows": 16, "tile_columns": 16, "tile_lr": 1e-3, "weight_lr": 0.02, "scale_lr": 1e-2,
            "lr": 1e-3, "head_lr": 1e-2, "milestones": (17,),
        },
        PRETRAINED: {
            "schedule": "cosine", "weight_lr": 1e-2, "weight_decay": 0.0, "clip": 1.0, "lr": 1e-3, "head_lr": 3e-3,
        },
    },
    space=(Scaled(("weight_lr",)), Scaled(("head_lr",)), Scaled(("scale_lr",))),
    look=Look("#3a5a98", "#8fb0ea", "2"),
    measures=(CELLS, SHARE),
    caveat=CAVEAT,
)  # fmt: skip

CARDS = (XMA2,)
