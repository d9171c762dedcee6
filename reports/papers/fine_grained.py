"""ImageNet-to-Sketch: tables 2 and 4 and figures 4 and 6 of the KSM paper."""

from __future__ import annotations

from reports.papers.ksm_paper import ABLATION, ABLATION_TITLE, NAMED, PROPOSED, ROWS, own, table_name
from reports.papers.paper_card import FROZEN, PaperScenario, PaperTable
from reports.published import TableFile

#: Data set names of tables 2 and 4 -> task names.
DATASETS = {
    "CUBS": "cubs_cropped",
    "Cars": "stanford_cars_cropped",
    "Flowers": "flowers",
    "WikiArt": "wikiart",
    "Sketch": "sketches",
    "ImageNet": "imagenet",
}


def _accuracies(number: int, file: str) -> TableFile:
    return TableFile(
        name=table_name(number),
        file=file,
        row="method",
        column="dataset",
        value="accuracy_percent",
        rows=ROWS,
        columns=DATASETS,
    )


IMAGENET2SKETCH = PaperScenario(
    scenario="imagenet2sketch",
    title="ImageNet-to-Sketch",
    position=1,
    tasks=5,
    backbone="resnet50",
    pretrained=True,
    methods=("finetune", "packnet", "piggyback", "cpg", "ksm"),
    own={
        "piggyback": own(30, 1e-4, FROZEN),
        "ksm": own(30, 1e-4),
        "finetune": {"epochs": 30, "batch_size": 32},
        "packnet": own(20, 1e-3, FROZEN),
        "cpg": own(300, 1e-3, schedule="plateau"),
    },
    named=NAMED,
    own_method=PROPOSED,
    ablation_order=ABLATION,
    contents="tables 2 and 4, figures 4 and 6 of the KSM paper",
    accuracy=PaperTable("Accuracy", _accuracies(2, "table2_imagenet2sketch.csv"), "Table 2"),
    model_size=PaperTable(
        "Model size",
        TableFile(
            name=table_name(2),
            file="table2_model_size.csv",
            row="method",
            value="model_size_mb_printed",
            only_column="cpg_table",
            rows=ROWS,
        ),
        "Table 2",
    ),
    soft_share=0.121,
    ablation=PaperTable(ABLATION_TITLE, _accuracies(4, "table4_ablation.csv"), "Table 4"),
    decimals=2,
    cost_figure="figure 4",
    cost_remark="The paper prints no numbers for figure 4.",
    masks=PaperTable("Ones and soft values", place="Figure 6"),
)
