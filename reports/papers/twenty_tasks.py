"""The twenty tasks of CIFAR-100: tables 1 and 3 and figure 5 of the KSM paper."""

from __future__ import annotations

from reports.papers.ksm_paper import ABLATION, ABLATION_TITLE, NAMED, PROPOSED, ROWS, own, table_name
from reports.papers.paper_card import FROZEN, PaperScenario, PaperTable
from reports.published import TableFile


def _table_1(value: str) -> TableFile:
    return TableFile(
        name=table_name(1),
        file="table1_cifar100_20.csv",
        row="method",
        column="task",
        value=value,
        rows=ROWS,
        notes_too=("table1_printed_averages.csv",),
    )


CIFAR100_20 = PaperScenario(
    scenario="cifar100-20",
    title="Twenty tasks of CIFAR-100",
    position=0,
    tasks=20,
    backbone="vgg16_bn",
    pretrained=False,
    methods=("packnet", "piggyback", "cpg", "ksm"),
    own={
        "scratch": own(100, 1e-2),
        "packnet": own(100, 1e-2),
        "piggyback": own(30, 1e-4, FROZEN),
        "cpg": own(100, 1e-2),
        "ksm": own(30, 1e-4),
    },
    named=NAMED,
    own_method=PROPOSED,
    ablation_order=ABLATION,
    contents="tables 1 and 3, figure 5 of the KSM paper",
    accuracy=PaperTable("Accuracy", _table_1("accuracy_percent"), "Table 1"),
    training_time=PaperTable("Training time", _table_1("training_seconds"), "Table 1"),
    times_device="Quadro RTX 5000",
    initial_tasks=PaperTable(
        "Initial tasks",
        TableFile(
            name=table_name(3),
            file="table3_initial_task.csv",
            row="initial_task",
            column="task",
            value="accuracy_percent",
        ),
        "Table 3",
    ),
    ablation=PaperTable(ABLATION_TITLE),
    numbered_tasks=True,
    cost_figure="figure 5",
)
