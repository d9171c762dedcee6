"""Named streams of randomness: order, augmentation, initialisation and mask noise never disturb one another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Streams:
    """Every (name, task) pair has a stream of its own, derived from one seed; tasks do not depend on their order."""

    seed: int

    def derive(self, name: str, task: int) -> int:
        """A 63-bit seed for stream ``name`` of task label ``task``."""
        digest = hashlib.sha256(f"{self.seed}/{name}/{task}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def generator(self, name: str, task: int, device: torch.device) -> torch.Generator:
        """A generator on ``device`` at the start of the stream."""
        return torch.Generator(device).manual_seed(self.derive(name, task))

    @contextmanager
    def initialising(self, task: int) -> Iterator[None]:
        """Inside, torch's global CPU generator is stream "initialisation" of ``task``; restored afterwards."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.derive("initialisation", task))
            yield
