"""Run records made by hand, for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results import metrics
from results.schema import RunRecord

CIFAR_TASKS = [
    "aquatic_mammals",
    "fish",
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "insects",
    "large_carnivores",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
    "trees",
    "vehicles_1",
    "vehicles_2",
]
SKETCH_TASKS = ("cubs_cropped", "stanford_cars_cropped", "flowers", "wikiart", "sketches")
CPU = {"cpu": "Test CPU", "cores": 2, "os": "Linux", "threads": 2, "load": 0.1}


def record(
    method: str,
    seed: int,
    accuracies: Sequence[float],
    *,
    scenario: str = "cifar100-20",
    names: Sequence[str] | None = None,
    at_end: Sequence[float] | None = None,
    seconds: Sequence[float | None] | None = None,
    epochs: int = 10,
    initial_task: int = 1,
    masks: Sequence[tuple[str, str, int, int, int]] = (),
    sizes: Mapping[str, int] | None = None,
    components: Sequence[tuple[str, str | None, int, int]] = (),
    curve: Sequence[Mapping[str, Any]] = (),
    task1: float | None = None,
    spec: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    **fields: Any,
) -> RunRecord:
    """A finished record. Task ``i + 1`` has ``accuracies[i]``; ``seconds[i]`` None marks the task-1 network.

    ``masks`` rows are (task, layer, ones, soft, zeros). ``components`` rows are (name, task, count, bits); what the
    itemised size has beyond them is a component "rest". Rows stand in learning order: the initial task first.
    ``facts`` is what the record says of its method; None: nothing, as records before that was recorded.
    """
    names = tuple(names or CIFAR_TASKS[: len(accuracies)])
    at_end = list(at_end or accuracies)
    timed = list(seconds or [10.0] * len(accuracies))
    order = [initial_task - 1, *(i for i in range(len(accuracies)) if i != initial_task - 1)]
    rows = [
        {
            "index": i + 1,
            "name": names[i],
            "classes": 5,
            "train_images": 2500,
            "test_images": 500,
            "accuracy": accuracies[i],
            "accuracy_at_end": at_end[i],
            "epochs": epochs if timed[i] is not None else 0,
            "seconds": {"load": 1.0, "eval": 0.5, **({} if timed[i] is None else {"train": timed[i]})},
            "seconds_per_epoch": None if timed[i] is None else (timed[i] or 0.0) / epochs,
            "images_per_second": None if timed[i] is None else 100.0,
            "peak_memory_bytes": 2**20 * 50,
            "status": "task-1 network" if timed[i] is None else "learned",
            "curve": list(curve),
        }
        for i in order
    ]
    matrix = [
        [(at_end if n == len(order) - 1 else accuracies)[j] for j in order[: n + 1]] + [None] * (len(order) - n - 1)
        for n in range(len(order))
    ]
    full_spec = {
        "scenario": scenario,
        "method": method,
        "seed": seed,
        "tasks": len(names),
        "task_names": [names[i] for i in order],
        "initial_task": initial_task,
        "selection": "validation",
        "bn_policy": "frozen" if method == "piggyback" else "per-task",
        "backbone": {"name": "vgg16_bn", "width": 1.0, "weights": None, "weights_sha256": None},
        "epochs": epochs,
        "batch_size": 32,
        "train_limit": None,
        "test_limit": None,
        "precision": "fp32",
        "device": "cpu",
        "settings": {"epochs": epochs, "lr": 1e-4},
    } | dict(spec or {})
    full_provenance = {
        "started": "2025-03-01T10:00:00+00:00",
        "finished": "2025-03-01T10:30:00+00:00",
        "command": "python -m benchmark run",
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "packages": {"torch": "2.11.0"},
        "host": CPU,
        "device": {"name": "Test CPU"},
        "notes": [],
        "data_fingerprint": "f" * 64,
    } | dict(provenance or {})
    size = None
    if sizes is not None:
        rest = sizes.get("itemised", 0) - sum((count * bits + 7) // 8 for _, _, count, bits in components)
        components = [*components, *([("rest", None, rest, 8)] if components and rest else [])]
        size = {
            "components": [
                {"name": n, "task": t, "count": c, "bits": b, "dtype": "float32"} for n, t, c, b in components
            ],
            "rules": {key: value for key, value in sizes.items() if key != "written"},
            "written_bytes": sizes.get("written"),
        }
    known = [value for value in timed if value is not None]
    value: dict[str, Any] = {
        "schema_version": 1,
        "run_id": f"{scenario}-{method}-{initial_task}-{seed}",
        "status": "finished",
        "error": None,
        "spec": full_spec,
        "provenance": full_provenance,
        "tasks": rows,
        "accuracy_matrix": matrix,
        "mean_accuracy": metrics.mean_accuracy(matrix),
        "forgetting": metrics.forgetting(matrix),
        "backward_transfer": metrics.backward_transfer(matrix),
        "training_seconds_total": sum(known),
        "trainable_parameters": 1000,
        "size": size,
        "mask_statistics": [
            {"task": t, "layer": la, "units": o + s + z, "ones": o, "soft": s, "zeros": z} for t, la, o, s, z in masks
        ],
        "task1_network": None
        if task1 is None
        else {"seconds": task1, "epochs": 100, "reused": False, "task": names[0]},
        "wall_seconds": sum(known) + 5.0,
        "warnings": [],
    } | ({} if facts is None else {"method": dict(facts)})
    return RunRecord.from_json(value | fields)


def save(folder: Path, records: Iterable[RunRecord]) -> Path:
    """Write each record into ``folder/<run id>/result.json`` and return ``folder``."""
    for item in records:
        run = folder / item.run_id
        run.mkdir(parents=True, exist_ok=True)
        (run / "result.json").write_text(json.dumps(item.to_json()), encoding="utf-8")
    return folder
