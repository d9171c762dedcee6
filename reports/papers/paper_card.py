"""What a report knows of a scenario from the paper that has it: one card a scenario, data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reports.published import PublishedTable, TableFile

FROZEN, PER_TASK = "frozen", "per-task"  #: BN policies


@dataclass(frozen=True)
class PaperTable:
    """What a table (or a figure) shows, where the paper has it, and the paper's own numbers where it prints any."""

    title: str  #: "Accuracy": in any setting
    file: TableFile | None = None
    place: str = ""  #: "Table 1"; empty: the paper has none

    @property
    def placed(self) -> str:
        """``Table 1: accuracy``: the title in the paper's own setting, and in no other (``reports.setting.titled``)."""
        return f"{self.place}: {self.title[:1].lower()}{self.title[1:]}" if self.place else self.title

    @property
    def printed(self) -> PublishedTable | None:
        """The printed numbers, read when first asked for; None where the paper has none."""
        return self.file.table if self.file else None


@dataclass(frozen=True)
class PaperScenario:
    """One scenario as a paper has it. The defaults are those of a scenario that no paper has."""

    scenario: str  #: its key in run records
    title: str  #: where records carry none
    position: int = 1000  #: panels stand in this order

    tasks: int = 0  #: 0: no paper has the scenario
    selection: str = "legacy-test"  #: how the paper's runs choose the epoch that counts
    backbone: str = ""
    pretrained: bool | None = None  #: whether the backbone starts from pretrained weights; None: not stated
    methods: tuple[str, ...] = ()  #: those that the paper's tables compare
    #: by method, what a source states or implies of its runs: keys of a flattened specification
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: by method, settings that have a name of their own: "release schedule" -> keys of a flattened specification
    named: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    own_method: str = ""  #: the method that the paper proposes; its table of initial tasks is about it
    ablation_order: tuple[str, ...] = ()  #: from the method that is taken apart to the proposed one
    contents: str = ""  #: "tables 1 and 3, figure 5 of the KSM paper"

    accuracy: PaperTable = PaperTable("Accuracy")  #: percent by (method, task)
    training_time: PaperTable = PaperTable("Training time")  #: seconds by (method, task), on ``times_device``
    model_size: PaperTable = PaperTable("Model size")  #: MiB by (method, rule)
    initial_tasks: PaperTable = PaperTable("Initial tasks")  #: percent by (initial task, task)
    ablation: PaperTable = PaperTable("Ablation")  #: percent by (method, task)
    soft_share: float | None = None  #: the share of soft values at which the size formula gives the printed size
    times_device: str = ""
    decimals: int = 1  #: of printed accuracies
    numbered_tasks: bool = False  #: printed tables have a task's number, not its name

    cost_figure: str = ""  #: the figure of training costs: "figure 5"
    cost_remark: str = ""
    masks: PaperTable = PaperTable("Ones and soft values")  #: the figure of the masks' ratios

    @property
    def in_paper(self) -> bool:
        """Whether a paper has the scenario, so that a panel can be unlike it."""
        return self.tasks > 0

    @property
    def drawn(self) -> tuple[str, ...]:
        """Methods whose printed numbers are drawn in figures, whether or not there are runs of them."""
        timed = self.training_time.printed
        proposed = (self.own_method,) if self.initial_tasks.file else ()
        return tuple(dict.fromkeys([*(timed.values if timed else ()), *proposed]))

    def column(self, index: int, name: str) -> str:
        """The column under which a task stands in the printed tables: ``index`` counts from 1."""
        return str(index) if self.numbered_tasks else name
