"""Folders that ``data prepare`` made: compared with their manifest, whose warnings go into every record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmark.data.folders import folder_source
from benchmark.data.listing import TaskSource
from benchmark.data.manifest import Manifest, read_manifest, verify
from benchmark.scenarios.contract import Progress, Vouched


def prepared_source(root: Path, progress: Progress) -> TaskSource:
    """As :func:`benchmark.data.folders.folder_source`, with the manifest's warnings where there is one.

    Raises:
        RequestError: the files are not those of the manifest, or the folder is not as a task's must be.
    """
    source = folder_source(root)
    if (manifest := read_manifest(root)) is None:
        return source
    verify(root, source.files, manifest, progress)
    return dataclasses.replace(source, notes=(*source.notes, *warnings_of(manifest)))


def vouched(root: Path, progress: Progress) -> Vouched | None:
    """What a folder's manifest says, when its files are as it has them; None without a manifest or a folder.

    Raises:
        RequestError: they are not, or the manifest is damaged.
    """
    manifest = read_manifest(root)
    if manifest is None:
        return None
    source = folder_source(root)
    verify(root, source.files, manifest, progress)
    notes = (*source.notes, *warnings_of(manifest))
    return Vouched(
        manifest.class_names, manifest.train, manifest.test, notes, manifest.in_both_splits, manifest.content
    )


def warnings_of(manifest: Manifest | None) -> tuple[str, ...]:
    """Its warnings as notes of a task: without their full stops."""
    return () if manifest is None else tuple(warning.rstrip(".") for warning in manifest.warnings)
