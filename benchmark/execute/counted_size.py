"""The size of a run's network under each accounting rule, from what the strategy stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.execute.resume import Done
from benchmark.measure.size import architecture_of, cpg_table_parts, head_size
from benchmark.plan.spec import RunSpec
from methods.card import SizeRule
from methods.engine.parts import MaskCount, StoredItem
from methods.registry import METHODS
from results.schema import Size, SizeComponent

#: torchvision's 1000-way ImageNet head of ResNet-50, part of every published size of that scenario
IMAGENET_CLASSES = 1000


def components(items: Sequence[StoredItem], names: Mapping[int, str]) -> tuple[SizeComponent, ...]:
    """A strategy's stored items as the record has them; ``names``: task name by label."""
    return tuple(
        SizeComponent(
            item.name, None if item.task is None else names[item.task], item.count, item.bits, item.dtype, item.purpose
        )
        for item in items
    )


def size_of(
    spec: RunSpec,
    items: Sequence[StoredItem],
    names: Mapping[int, str],
    backbone: Any,
    masks: Sequence[MaskCount],
    done: Done,
) -> Size:
    """Both accounting rules, and what was written."""
    parts = components(items, names)
    classes = [row["classes"] for row in done.rows]
    rule = _rule(spec)
    table, soft = {}, None
    if rule is not None:
        soft = soft_share(masks) if rule.soft else None
        table = _table(spec, rule, backbone, classes, soft or 0.0)
    rules = {"itemised": sum(part.bytes for part in parts), "cpg_table": sum(table.values()) if table else None}
    return Size(parts, rules, sum(done.written.values()), sum(done.headers.values()), table, soft)


def soft_share(masks: Sequence[MaskCount]) -> float:
    """Share of all mask units that are dropped, whose values are stored where a method has such."""
    units = sum(mask.units for mask in masks)
    return sum(mask.soft + mask.zeros for mask in masks) / units if units else 0.0


def _table(spec: RunSpec, rule: SizeRule, backbone: Any, classes: Sequence[int], soft: float) -> dict[str, int]:
    width = backbone.feature_dim
    initial = head_size(width, IMAGENET_CLASSES) if spec.backbone.pretrained else None
    architecture = architecture_of(backbone, [head_size(width, count) for count in classes], initial)
    return cpg_table_parts(rule, architecture, soft)


def _rule(spec: RunSpec) -> SizeRule | None:
    """The method's rule, with the units and soft values of the spec's mask."""
    rule = METHODS[spec.method].size_rule
    if rule is None or spec.mask is None:
        return rule
    return dataclasses.replace(
        rule,
        units=spec.mask.units,
        hidden_linear=spec.mask.hidden_linear,
        rows=spec.mask.rows,
        soft=spec.mask.soft != "none",
    )
