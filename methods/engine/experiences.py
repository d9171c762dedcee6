"""What a strategy reads off an Avalanche experience, whichever builder made its benchmark."""

from __future__ import annotations

from typing import Any


def task_label(experience: Any) -> int:
    """The experience's one task label. Raises ValueError: it has several, or none."""
    label = getattr(experience, "task_label", None)
    labels = [label] if label is not None else list(getattr(experience, "task_labels", ()))
    if not labels:
        labels = sorted(set(getattr(experience.dataset, "targets_task_labels", ())))
    if len(labels) != 1:
        has = f"this one has {sorted(labels)}" if labels else "this one has none, as in a class-incremental stream"
        raise ValueError(f"an experience must have one task label, {has}; build it with task_incremental_benchmark")
    return int(labels[0])


def class_count(experience: Any) -> int:
    """Highest class label plus one: from the classes timeline where the benchmark has one, else from the labels."""
    classes = getattr(experience, "classes_in_this_experience", None)
    if classes is None:
        classes = set(experience.dataset.targets)
    return max(int(item) for item in classes) + 1
