"""The networks of a finished run, read for a run that starts from them (``benchmark.plan.needed``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from benchmark.errors import RequestError
from benchmark.execute.reference import InitialNetwork
from benchmark.execute.store import run_folder
from benchmark.execute.stored_run import StoredRun, read_run
from benchmark.execute.waves import networks_not_kept
from benchmark.plan.needed import how_to_repeat, needed_run
from benchmark.plan.spec import RunSpec
from methods.engine.restore import WholeNetwork, shared_backbone, whole_network
from methods.engine.sealing import tensors_sha256
from methods.engine.tensor_data import Images, TaskImages
from methods.registry import METHODS
from results.schema import NetworksFrom

Read = TypeVar("Read")

#: what of two runs' provenance must agree before their times may be added up
_HARDWARE = (("device", "name"), ("device", "driver"), ("host", "cpu"), ("host", "threads"))


class FinishedNetworks:
    """The networks of one finished run, by task label (``methods.engine.merging.TaskNetworks``).

    Args:
        spec: of the run that starts from them.
        fingerprint: of the data of both.
        images: of every task, by its 1-based index in the scenario; a choice is made on those to select on, where
            there are none on those that were trained on.

    Raises:
        RequestError: there is no such run, it is of other data, or it did not keep its networks.
    """

    def __init__(
        self, spec: RunSpec, results: Path, fingerprint: str, images: Mapping[int, TaskImages] | None = None
    ) -> None:
        needed = needed_run(spec)
        assert needed is not None
        self._spec, self._needed = spec, needed
        self._images = dict(images or {})
        folder = run_folder(results, *needed.ids)
        record = folder.read_finished()
        why = f"{spec.method} starts from the networks of {needed.method}, and {folder.run_id} in {results}"
        if record is None:
            raise RequestError(f"{why} has not finished; give the same command again.")
        if record.provenance.get("data_fingerprint") != fingerprint:
            raise RequestError(f"{why} was made with other data; {how_to_repeat(spec, needed)}.")
        if fault := networks_not_kept(spec, results):
            raise RequestError(fault)
        self.run: StoredRun = self._told(lambda: read_run(folder.path))
        self._names = {row.index: row.name for row in self.run.record.tasks}

    def network(self, label: int) -> WholeNetwork:
        """The whole network of a task. Raises RequestError: its file is not what the run wrote."""
        index = label + 1
        kept, _ = self._told(lambda: self.run.task(index))
        expected = self.run.record.learned_sha256.get(self._names[index])
        if expected is not None and tensors_sha256(kept) != expected:
            path = self.run.folder.task(index)
            raise RequestError(f"{path} is not what the run learned; {how_to_repeat(self._spec, self._needed)}.")
        restore = METHODS[self._needed.method].load_restore()
        return whole_network(restore, self.run.shared, kept, self.run.layout)

    def images(self, label: int) -> Images | None:
        """The images to choose on for a task."""
        found = self._images.get(label + 1)
        if found is None:
            return None
        return found.train if found.selection is None else found.selection

    def initial(self) -> InitialNetwork:
        """The task-1 network that all of them started from."""
        label = self._spec.initial_task - 1
        network = self.network(label)
        facts = {**(self.run.record.task1_network or {}), "reused": True}
        return InitialNetwork(network.backbone, network.head, facts)

    def require_start(self, backbone: nn.Module) -> None:
        """Raises RequestError where ``backbone`` is not what all of them started from."""
        own = backbone.state_dict()
        for name, tensor in shared_backbone(self.run.shared, self.run.layout).items():
            if not torch.equal(own[name].cpu(), tensor):
                raise RequestError(
                    f"{self.run.folder.run_id} started from other weights than this run has ({name} differs); "
                    f"{how_to_repeat(self._spec, self._needed)}."
                )

    def told(self, provenance: Mapping[str, Any]) -> NetworksFrom:
        """What a record says of them; ``provenance``: of the run that started from them."""
        record = self.run.record
        same = all(_at(record.provenance, path) == _at(provenance, path) for path in _HARDWARE)
        return NetworksFrom(
            run_id=record.run_id,
            method=self._needed.method,
            title=METHODS[self._needed.method].title,
            learned_sha256=dict(record.learned_sha256),
            training_seconds={row.name: row.training_seconds for row in record.tasks},
            same_hardware=same,
        )

    def check(self) -> None:
        """Read all of them. Raises RequestError."""
        for index in self._needed.task_indices:
            self.network(index - 1)

    def _told(self, read: Callable[[], Read]) -> Read:
        try:
            return read()
        except RequestError as error:
            raise RequestError(f"{error.__cause__ or error}; {how_to_repeat(self._spec, self._needed)}.") from error


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
