"""WSN's re-runs on the twenty superclasses of CIFAR-100 with LeNet (Kang et al., ICML 2022)."""

from __future__ import annotations

from reports.papers.paper_card import PaperScenario, PaperTable
from reports.published import TableFile

_OWN = {"epochs": 50, "batch_size": 64, "settings.schedule": "plateau"}

CIFAR100_SUPERCLASS = PaperScenario(
    scenario="cifar100-superclass",
    title="Twenty tasks of CIFAR-100 on LeNet",
    position=1,
    tasks=20,
    selection="validation",
    backbone="lenet",
    methods=("packnet", "supsup", "wsn"),
    own_method="wsn",
    own={"packnet": _OWN, "supsup": _OWN, "wsn": _OWN},
    contents="superclass table of the WSN paper",
    accuracy=PaperTable(
        "Accuracy",
        TableFile(
            name="CIFAR-100 superclass of the WSN paper",
            file="wsn_superclass.csv",
            row="method",
            value="accuracy_percent",
            rows={"PackNet": "packnet", "SupSup": "supsup", "WSN": "wsn"},
            mean_of=20,
        ),
        "Superclass table of the WSN paper",
    ),
    decimals=2,
)
