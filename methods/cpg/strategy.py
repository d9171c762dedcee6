"""CPG without expansion (Hung et al., NeurIPS 2019): compact, pick, and do not grow.

One task after another:

1. goal       the accuracy that ``scratch`` reaches on the task;
2. train      all free weights become the task's; scores pick among earlier tasks' weights (straight-through);
3. prune      in steps of growing ratio, each along the cubic schedule, picks fixed;
4. choose     the largest ratio that still meets the goal;
5. retrain    picks start afresh; kept where it is at least as accurate as what was chosen.

Where the official scripts fall through, this says what happens: a task meets its goal when its accuracy reaches the
goal and its training accuracy is above ``min_train_accuracy``; else its status is "goal missed", and it is pruned to
the compulsory ratio whatever its accuracy, so that later tasks find free weights. Cut weights become zero at once,
not at the end of the epoch. Without images to select on, training accuracy stands in and there is no goal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.cpg.card import CPG as CARD
from methods.cpg.card import CPGSettings
from methods.engine.functions import MaskFunction
from methods.engine.optimise import Group, Optimizers
from methods.engine.owned import OwnedWeights
from methods.engine.ownership import earlier_weights
from methods.engine.packing import pack_bits
from methods.engine.parts import Part, Parts
from methods.engine.pruning import compulsory_ratio, cubic_ratio, prune_layers
from methods.engine.restore import PICKS
from methods.engine.schedule import Schedule, plateau_of
from methods.engine.state import LearningTask, PhaseResult, Plan, Snapshot

SCORES = "scores"
#: the name of the network to keep so far, among what the task remembers
CHOSEN = "chosen"

#: as Piggyback's: scores start at 0.01 and pick a weight above 0.005
INITIAL_SCORE, PICK_THRESHOLD = 0.01, 0.005


class _Pick(MaskFunction):
    """Weights of earlier tasks times their pick, the task's own as they are; straight-through to the scores.

    ``earlier``: float32 (elements,), the weights of earlier tasks, 0 elsewhere. Elsewhere scores have no gradient and
    stay where they began, above the threshold, so that one pass picks everything (see ``masks``). The weights' gradient
    is masked by owner before the update, not here.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, scores: Tensor, earlier: Tensor) -> Tensor:
        ctx.save_for_backward(earlier)
        return torch.ops.aten.threshold_backward(weights, scores, PICK_THRESHOLD)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        (earlier,) = ctx.saved_tensors
        for_weights = gradient if ctx.needs_input_grad[0] else None
        for_scores = gradient * earlier if ctx.needs_input_grad[1] else None
        return for_weights, for_scores, None


class CPG(OwnedWeights):
    """See the module.

    Args:
        goal_for: gives the accuracy goal of a task (a fraction), or None where there is none; called once a task,
            before training, inside phase "goal".
    """

    card = CARD
    settings: CPGSettings

    def __init__(self, *, goal_for: Callable[[LearningTask], float | None] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        _ = self.positions  # asks for task_count now, not after the first task
        self.goal_for = goal_for
        self._earlier: Tensor | None = None  #: weights of earlier tasks, 0 elsewhere; they never change
        self._picks_train = False  #: in the phase under way

    # ------------------------------------------------------------------ tensors

    def begin(self, task: LearningTask) -> None:
        """As PackNet, and scores that at first pick every earlier weight."""
        super().begin(task)
        if self.position_of(task) > 1:
            scores = torch.full((self.layout.elements,), INITIAL_SCORE, device=self.device)
            self.current[SCORES] = scores.requires_grad_()

    def earlier(self, position: int) -> Tensor:
        """bool (elements,): weights owned by tasks before ``position``; they never change hands."""
        return earlier_weights(self.owner, position)

    def training_tensors(self) -> dict[str, Tensor]:
        """Own and picked weights, with the task's biases and BN set."""
        tensors = super().training_tensors()
        if SCORES in self.current:
            if self._earlier is None:
                self._earlier = self.weights.detach() * self.earlier(self.current_position)
            scores = self.current[SCORES] if self._picks_train else self.current[SCORES].detach()
            picked: Tensor = _Pick.apply(self.weights, scores, self._earlier)  # type: ignore[no-untyped-call]
            tensors |= self.layout.views(picked)
        return tensors

    def keep(self, task: LearningTask) -> Parts:
        """As PackNet, and one bit per weight of earlier tasks."""
        kept = super().keep(task)
        if SCORES in self.current:
            picks = (self.current[SCORES].detach() > PICK_THRESHOLD)[self.earlier(self.position_of(task))]
            kept[PICKS] = Part(
                pack_bits(picks), "mask bits", "which earlier weights the task picks", 1, len(picks), "bit"
            )
        self._earlier = None
        return kept

    def trainable_parameters(self) -> int:
        """Own weights, head, biases and BN, and one score per earlier weight."""
        count = super().trainable_parameters()
        if SCORES in self.current:
            count += int(self.earlier(self.current_position).sum()) - self.current[SCORES].numel()
        return count

    # ------------------------------------------------------------------ the five steps

    def learn(self, task: LearningTask) -> None:
        """Goal, train, prune, choose, retrain."""
        assert self.progress is not None
        goal = self.progress.once("goal", lambda: self._goal(task))
        trained = self.fit(task, "train", lambda: self._training(task))
        goal = _accuracy(trained) if goal is None else goal
        met = _accuracy(trained) >= goal - self.settings.goal_tolerance and self._trains_well(trained)
        self.progress.once("goal met", lambda: met)
        self.progress.once("unpruned", lambda: self._choose(0.0, trained))
        self._prune_gradually(task, goal, met)
        self.progress.once("choose", self._take_chosen)
        if SCORES in self.current:
            self.progress.once("reset picks", self._reset_picks)
            self.fit(task, "retrain", lambda: self._retraining(task))

    def _goal(self, task: LearningTask) -> float | None:
        if self.goal_for is None or task.images is None or task.images.selection is None:
            return None
        with self.phase("goal"):
            return self.goal_for(task)

    def _trains_well(self, fitted: PhaseResult) -> bool:
        return fitted.train > self.settings.min_train_accuracy

    def _training(self, task: LearningTask) -> Plan:
        settings = self.settings
        position = self.position_of(task)
        owns_some = bool((self.owner == position).any())
        plateau = plateau_of(settings, settings.lr, settings.schedule, settings.gamma)
        if plateau is not None:
            even = Schedule("plateau", settings.epochs)
            picks = self._pick_groups(settings.pick_lr, even, (settings.pick_gamma,))
            groups = self.weight_groups(settings.lr, even) + picks
            return self._plan(task, "train", settings.epochs, self._optimizers(groups), plateau=plateau)
        step = Schedule("step", settings.epochs, settings.milestones, settings.gamma)
        pick = Schedule(
            "step",
            settings.epochs,
            (settings.pick_milestone,),
            settings.pick_gamma,
            settings.pick_stop if owns_some else None,
        )
        groups = self.weight_groups(settings.lr, step) + self._pick_groups(settings.pick_lr, pick)
        return self._plan(task, "train", settings.epochs, self._optimizers(groups))

    def _pick_groups(self, lr: float, schedule: Schedule, falls: tuple[float, ...] = ()) -> list[Group]:
        return [Group([self.current[SCORES]], "adam", lr, schedule, falls=falls)] if SCORES in self.current else []

    def _optimizers(self, groups: Sequence[Group]) -> Optimizers:
        return Optimizers(groups, self.settings.clip)

    def _plan(self, task: LearningTask, phase: str, epochs: int, optimizers: Optimizers, **options: Any) -> Plan:
        position = self.position_of(task)
        trained = [tensor for group in optimizers.groups for tensor in group.tensors]
        self._picks_train = any(tensor is self.current.get(SCORES) for tensor in trained)
        return Plan(
            phase,
            epochs,
            optimizers,
            after_backward=lambda: self.decay_and_mask(position),
            **options,
        )

    def _prune_gradually(self, task: LearningTask, goal: float, met: bool) -> None:
        """Runs of ``prune_epochs`` at growing ratios; the last acceptable one is remembered as chosen."""
        settings = self.settings
        limit = max(settings.prune_ratios) if met else compulsory_ratio(self.position_of(task), self.positions)
        before = 0.0
        for ratio in [ratio for ratio in settings.prune_ratios if ratio <= limit]:
            fitted = self.fit(task, f"prune {ratio}", lambda: self._pruning(task, before, ratio))  # noqa: B023
            if met and not self._trains_well(fitted):
                return
            if not met or _accuracy(fitted) >= goal - settings.goal_tolerance:
                assert self.progress is not None
                self.progress.once(f"choose {ratio}", lambda: self._choose(ratio, fitted))  # noqa: B023
            before = ratio

    def _pruning(self, task: LearningTask, before: float, target: float) -> Plan:
        """One ratio: cuts along the cubic schedule in the first ``prune_ramp`` epochs, picks fixed."""
        settings = self.settings
        position = self.position_of(task)
        constant = Schedule("constant", settings.prune_epochs)
        # not ``plan.optimizers`` below: a plan that refers to itself would keep its moments in memory
        optimizers = self._optimizers(self.weight_groups(settings.prune_lr, constant))

        def cut(epoch: int, iteration: int, iterations: int) -> None:
            step = epoch * iterations + iteration
            steps = min(settings.prune_ramp, settings.prune_epochs) * iterations - 1
            if step <= steps and (step % settings.prune_every == 0 or step == steps):
                ratio = cubic_ratio(before, target, step, steps)
                prune_layers(self.weights, self.owner, self.layout, position, ratio)
                optimizers.stop_momentum(self.weights, self.owner == position)

        return self._plan(
            task,
            "prune",
            settings.prune_epochs,
            optimizers,
            before_iteration=cut,
            keep_best=settings.pruned_epoch == "best",
            best_from=min(settings.prune_ramp, settings.prune_epochs) - 1,
        )

    def _choose(self, ratio: float, fitted: PhaseResult) -> dict[str, float]:
        """Remember the present network as the one to keep so far."""
        with self.phase("choose"):
            self.state.remembered[CHOSEN] = self.snapshot()
        return {"ratio": ratio, "accuracy": _accuracy(fitted)}

    @property
    def _chosen(self) -> Snapshot:
        return self.state.remembered[CHOSEN]

    def _chosen_accuracy(self) -> float:
        assert self.progress is not None
        choices = [value for key, value in self.progress.done.items() if key == "unpruned" or key.startswith("choose ")]
        return float(choices[-1]["accuracy"])

    def _take_chosen(self) -> None:
        with self.phase("choose"):
            self.put_back(self._chosen)

    @torch.no_grad()
    def _reset_picks(self) -> None:
        self.current[SCORES].fill_(INITIAL_SCORE)

    def _retraining(self, task: LearningTask) -> Plan:
        settings = self.settings
        constant = Schedule("constant", settings.retrain_epochs)
        groups = self.weight_groups(settings.retrain_lr, constant)
        groups += self._pick_groups(settings.retrain_pick_lr, constant)
        return self._plan(
            task,
            "retrain",
            settings.retrain_epochs,
            self._optimizers(groups),
            patience=settings.retrain_patience,
            reference=(self._chosen_accuracy(), self._chosen),
        )

    # ------------------------------------------------------------------ checkpoints

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """See ``Method.load_shared``; what earlier tasks' weights were is no longer known."""
        super().load_shared(tensors)
        self._earlier = None


def _accuracy(fitted: PhaseResult) -> float:
    """On the images to select on, else on the training images."""
    return fitted.train if fitted.selection is None else fitted.selection
