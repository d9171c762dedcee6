"""A new head on the frozen backbone."""

from __future__ import annotations

from methods.engine.task_strategy import TaskStrategy
from methods.head_only.card import HEAD_ONLY


class HeadOnly(TaskStrategy):
    """Each task trains a head, and under BN policy "per-task" a BN set: what ``TaskStrategy`` does by itself."""

    card = HEAD_ONLY
