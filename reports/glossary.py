"""What the page's terms mean: shown on hover where they stand, and in a list at the end, with a drawing of a mask."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

#: term -> what it means. A term is marked in a text once, in any case; longer terms first.
TERMS: dict[str, str] = {
    "mask unit": "The weights that share one number of a mask: a single weight, a convolution kernel, a channel, a "
    "group of kernels or a crossbar column.",
    "soft value": "What a mask holds for a dropped unit instead of 0: a number between 0 and 1, from its score.",
    "task-1 network": "The network trained from scratch on the first task. Methods with a frozen backbone start every "
    "other task from it, so it is trained once and its time stands apart.",
    "frozen": "BN policy: all tasks use the backbone's batch-norm statistics, scales and shifts.",
    "per-task": "BN policy: every task trains and keeps batch-norm statistics, scales and shifts of its own.",
    "legacy-test": "The epoch to keep was chosen on test images, as the methods' official codes do: accuracies are too "
    "high.",
    "selected on validation images": "The epoch to keep was chosen on images held out of the training set.",
    "forgetting": "How much accuracy a task lost between learning it and the end, in points, mean over the tasks but "
    "the last.",
    "backward transfer": "Accuracy at the end minus accuracy when learned, in points, mean over the tasks but the "
    "last.",
    "itemised": "Everything that must be stored to restore every task, part by part, with the bits that each needs.",
    "95 %": "An interval that would hold the mean in 95 of 100 repetitions, over seeds (Student's t).",
    "seed": "One repetition: other initial weights, other order of images, other validation split.",
    "Pareto front": "Methods that no other beats in accuracy and cost at once.",
    "goal": "The accuracy that a task should reach before pruning: that of a network trained for it alone.",
}  # fmt: skip

#: column heads of tables -> what they hold
HEADINGS: dict[str, str] = {
    "Accuracy": "Mean test accuracy over all tasks after the last one was learned",
    "Paper": "The published mean over the same tasks; grey: the runs here are not the paper's",
    "Validation": "Mean accuracy on validation images of the epochs that were kept",
    "Last epoch": "Mean accuracy that each task's last epoch had",
    "vs. best": "Difference to the first row, paired over task and seed",
    "vs. scratch": "Accuracy when learned, minus that of a network of random weights trained for the task",
    "Forgetting": TERMS["forgetting"],
    "Backward transfer": TERMS["backward transfer"],
    "Training": "Seconds in training phases, all tasks",
    "With tuning": "The same and all trials that found the settings",
    "Size": TERMS["itemised"],
    "Trainable": "Parameters that the optimiser may change while a task trains",
}

MASK_CAPTION = (
    "The weights W of the backbone stay as they are. A task trains a score for every mask unit; units whose score is "
    "above a threshold are kept (1), the others dropped (0). Left: one bit a weight. Right: one number a kernel, and a "
    "soft value for a dropped kernel."
)

#: a command line, or an option of one, in a sentence
_COMMAND = r"(?P<command>python -m benchmark(?: [\w/=,.-]*[\w/=])+|(?<!\S)--[a-z][a-z-]+(?: \d+(?:,\d+)*)?)"

_PATTERN = re.compile(
    rf"{_COMMAND}|(?<![\w-])(?P<term>{'|'.join(map(re.escape, sorted(TERMS, key=len, reverse=True)))})s?(?![\w-])",
    re.IGNORECASE,
)
_BY_LOWER = {term.lower(): text for term, text in TERMS.items()}


def marked(text: str) -> Markup:
    """The text for the page, escaped; the first time that a term stands in it, its meaning shows on hover. Command
    lines are code."""
    seen: set[str] = set()
    parts, end = [], 0
    for match in _PATTERN.finditer(text):
        if match["command"]:
            words = Markup(" ").join(Markup("<span>{}</span>").format(word) for word in match["command"].split(" "))
            parts += [escape(text[end : match.start()]), Markup("<code>{}</code>").format(words)]
            end = match.end()
            continue
        term = match["term"].lower()
        if term in seen:
            continue
        seen.add(term)
        parts += [
            escape(text[end : match.start()]),
            Markup('<abbr title="{}">{}</abbr>').format(_BY_LOWER[term], match[0]),
        ]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def meaning(heading: str) -> str:
    """What a column holds; empty where its head says it."""
    return HEADINGS.get(heading, "")


def entries() -> list[tuple[str, str]]:
    """Every term and its meaning, by the alphabet."""
    return sorted(TERMS.items(), key=lambda item: item[0].lower())


def mask_drawing() -> Markup:
    """The drawing of what a mask does, an SVG in the page's colours."""
    return Markup((Path(__file__).parent / "templates" / "mask.svg").read_text(encoding="utf-8"))
