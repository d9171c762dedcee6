"""Which tensors of a weights file are the backbone's: found by their names, whatever wraps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor

#: What networks carry beside a backbone: classification heads, losses, projections of self-supervised training.
HEADS = (
    "fc", "classifier", "classifiers", "head", "heads", "linear", "last_linear", "logits", "aux_classifier",
    "criterion", "loss", "loss_fn", "projector", "projection_head", "predictor", "prototypes",
)  # fmt: skip
#: What trainers count beside the weights.
COUNTERS = ("n_averaged", "epoch", "step", "global_step")
#: Where checkpoints keep the weights that were trained, the usual name first; beside them may lie averaged ones.
USUAL = ("", "state_dict", "model_state_dict", "model")
#: Counts the batches BN has seen: files often leave it out, and nothing here reads it.
BN_COUNTER = "num_batches_tracked"
DEPTH = 4  #: of mappings within mappings that is looked at
SHOWN = 5  #: prefixes named in an error


def needed_names(expected: Mapping[str, Tensor]) -> list[str]:
    """The names without which a backbone is not whole."""
    return [name for name in expected if not name.endswith(BN_COUNTER)]


def state_dicts(content: Mapping[Any, Any], path: Path) -> dict[str, dict[str, Tensor]]:
    """Every mapping of names to tensors in a file, by the keys that lead to it (``""``: the file itself).

    Raises RequestError when there is none.
    """
    found = dict(_mappings(content, "", DEPTH))
    if not found:
        raise RequestError(f"{path} holds no state dict (a mapping of names to tensors); save model.state_dict().")
    return found


def _mappings(content: Mapping[Any, Any], place: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    import torch

    if content and all(isinstance(name, str) and isinstance(it, torch.Tensor) for name, it in content.items()):
        yield place, dict(content)
    elif depth:
        for key, inner in content.items():
            if isinstance(inner, Mapping):
                yield from _mappings(inner, f"{place}.{key}" if place else str(key), depth - 1)


def chosen(states: Mapping[str, dict[str, Tensor]], expected: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The backbone's tensors under its own names, out of the one mapping and prefix under which all of them are.

    Raises RequestError when none has them all, when several have, or when there are others that are no known head.
    """
    needed = set(needed_names(expected))
    counts = {place: _prefixes(state, needed) for place, state in states.items()}
    fits = [
        (place, prefix) for place, found in counts.items() for prefix, count in found.items() if count == len(needed)
    ]
    usual = [fit for name in USUAL for fit in fits if fit[0] == name]
    fits = [fit for fit in fits if usual and fit[0] == usual[0][0]] or fits
    if len(fits) > 1:
        several = ", ".join(repr(": ".join(filter(None, fit))) for fit in fits)
        raise RequestError(
            f"{path} holds the backbone's weights several times, under {several}; save the one to start from alone."
        )
    place, prefix = fits[0] if fits else _nearest(counts, states)
    state = states[place]
    found = {name.removeprefix(prefix): it for name, it in state.items() if name.startswith(prefix)}
    found = {name: tensor for name, tensor in found.items() if name in expected}
    others = [name for name in state if not (name.startswith(prefix) and name.removeprefix(prefix) in expected)]
    unexpected = [name for name in others if not _is_extra(name, prefix)]
    missing = [name for name in needed_names(expected) if name not in found]
    if missing or unexpected:
        faults = [
            f"{len(names)} {kind} (such as {names[0]})"
            for names, kind in ((missing, f"of {len(needed)} tensors missing"), (unexpected, "unexpected"))
            if names
        ]
        raise RequestError(
            f"{path} holds weights of another network than the backbone: {' and '.join(faults)}; its names begin with "
            f"{_beginnings(state)}{f', those of the backbone with {prefix!r}' if prefix else ''}."
        )
    return found


def _prefixes(state: Mapping[str, Tensor], needed: set[str]) -> Counter[str]:
    """How many of the needed names there are under every prefix (empty, or ending in a dot)."""
    found: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in needed:
                found["".join(f"{part}." for part in parts[:at])] += 1
    return found


def _nearest(counts: Mapping[str, Counter[str]], states: Mapping[str, dict[str, Tensor]]) -> tuple[str, str]:
    """The mapping and prefix with most of the needed names, for the error; else the largest mapping."""
    largest = max(states, key=lambda place: len(states[place]))
    every = [(place, prefix) for place, found in counts.items() for prefix in found]
    return max(every, key=lambda at: counts[at[0]][at[1]], default=(largest, ""))


def _is_extra(name: str, prefix: str) -> bool:
    """A head's, a loss's or a counter's tensor beside a backbone that lies under ``prefix``."""
    parts, wrapping = name.split("."), prefix.split(".")
    while wrapping and len(parts) > 1 and parts[0] == wrapping[0]:
        parts, wrapping = parts[1:], wrapping[1:]
    return parts[0].lower() in HEADS or (len(parts) == 1 and parts[0] in COUNTERS)


def _beginnings(state: Mapping[str, Tensor]) -> str:
    first = list(dict.fromkeys(name.partition(".")[0] for name in state))
    return ", ".join(first[:SHOWN]) + (f" and {len(first) - SHOWN} more" if len(first) > SHOWN else "")
