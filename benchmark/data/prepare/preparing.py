"""From a source to a folder that a scenario reads: planned, made image by image, resumable, whole at the end."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmark.data.cache import file_digest
from benchmark.data.digest import digest_of, remember
from benchmark.data.images import THREADS, broken
from benchmark.data.manifest import FILES, Listed, Manifest, read_manifest, verify, write_files, write_manifest
from benchmark.data.prepare.catalogue import Catalogue, open_catalogue
from benchmark.data.prepare.data_sets import DataSet
from benchmark.data.prepare.pictures import QUALITY, made_of
from benchmark.data.prepare.recipe import TRAIN, Item, Recipe
from benchmark.data.prepare.staging import Staging
from benchmark.errors import RequestError
from benchmark.scenarios.contract import Progress, silent
from results.units import in_units

CHUNK = 64  #: images made between two entries in the journal, at most
CHUNK_BYTES = 64 * 2**20  #: of the same, about: what is held in memory

Say = Callable[[str], None]


def prepare(data_set: DataSet, source: Path, root: Path, say: Say, progress: Progress = silent) -> Manifest:
    """Make ``root``'s folder of a data set from ``source``; what is there already is left alone.

    Args:
        say: told the size before it starts, and what is unusual.

    Raises:
        RequestError: the source is wrong, partial or contradicts its own lists, the target holds something else, or
            there is no room. The target is as it was.
    """
    target = data_set.target(root)
    if (there := _prepared_already(data_set, source, target, progress)) is not None:
        say(f"{target} is prepared already, from {', '.join(there.sources)}: nothing to do.")
        return there
    catalogue = open_catalogue(source, data_set.archives, data_set.lists, progress)
    recipe = data_set.recipe(catalogue)
    try:
        staging = Staging(target)
        with staging.locked():
            if target.exists():
                raise RequestError(f"Another process prepared {target} meanwhile.")
            return _make(data_set, catalogue, recipe, staging, say, progress)
    except OSError as error:
        advice = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see to it"
        raise RequestError(
            f"{root} cannot be written ({error.strerror or error}); {advice} and give the same command again: what is "
            "done is kept."
        ) from error


def _prepared_already(data_set: DataSet, source: Path, target: Path, progress: Progress) -> Manifest | None:
    """What an earlier command made there. Raises RequestError for anything else that is there."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    manifest = read_manifest(target)
    if manifest is None:
        raise RequestError(f"{target} is there and was not made by this command; move it away, or use it as it is.")
    if source.exists() and not _same_source(manifest, source):
        raise RequestError(
            f"{target} was prepared from {', '.join(manifest.sources)}, not from {source.name}; remove it to "
            "prepare it anew."
        )
    verify(target, _files(data_set, target), manifest, progress)
    return manifest


def _same_source(manifest: Manifest, source: Path) -> bool:
    return source.is_dir() or source.name in manifest.sources


def _make(
    data_set: DataSet, catalogue: Catalogue, recipe: Recipe, staging: Staging, say: Say, progress: Progress
) -> Manifest:
    staging.resume(recipe.digest(catalogue), progress)
    left, free = staging.require_room({item.target: catalogue.sizes[item.member] for item in recipe.items})
    todo = {item.member: item for item in recipe.items if item.target not in staging.done}
    done = f", {len(staging.done):,} of them done before" if staging.done else ""
    say(
        f"{data_set.about.name}: {len(recipe.items):,} files{done}; at most {in_units(left)} will be written to "
        f"{staging.target} ({in_units(free)} are free)"
    )
    what = f"preparing {data_set.about.name}"
    progress(what, len(staging.done), len(recipe.items))
    try:
        _make_all(catalogue, todo, staging, lambda: progress(what, len(staging.done), len(recipe.items)))
        manifest = _manifest(data_set, catalogue, recipe, staging, progress)
    except RequestError:  # the source is at fault, and another one makes other files
        staging.discard()
        raise
    write_manifest(staging.folder, manifest)
    staging.publish()
    remember(staging.target, _files(data_set, staging.target), manifest.content)
    for warning in manifest.warnings:
        say(f"warning: {warning}")
    return manifest


def _make_all(catalogue: Catalogue, todo: Mapping[str, Item], staging: Staging, progress: Callable[[], None]) -> None:
    """Make and journal the items, by member. Raises BrokenImages, at the end, naming those that do not decode."""
    faults: list[str] = []

    def attempt(pair: tuple[str, bytes]) -> tuple[str, Listed] | RequestError:
        item = todo[pair[0]]
        try:
            content = made_of(pair[1], f"{catalogue.source}: {pair[0]}", item.box) if item.image else pair[1]
        except RequestError as error:
            return error
        return staging.write(item.target, content)

    with ThreadPoolExecutor(THREADS) as pool:
        for chunk in _chunks(catalogue.contents(todo)):
            made = list(pool.map(attempt, chunk))
            faults += [str(one) for one in made if isinstance(one, RequestError)]
            staging.journal(dict(one for one in made if not isinstance(one, RequestError)))
            progress()
    if faults:
        raise broken(faults, len(todo))


def _chunks(pairs: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    chunk: list[tuple[str, bytes]] = []
    for pair in pairs:
        chunk.append(pair)
        if len(chunk) == CHUNK or sum(len(content) for _, content in chunk) >= CHUNK_BYTES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _manifest(
    data_set: DataSet, catalogue: Catalogue, recipe: Recipe, staging: Staging, progress: Progress
) -> Manifest:
    wanted = {item.target for item in recipe.items}
    listed = {name: about for name, about in staging.done.items() if name in wanted}
    write_files(staging.folder, listed)
    files = _files(data_set, staging.folder)
    names = [file.relative_to(staging.folder).as_posix() for file in files]
    if set(names) != wanted:  # what a scenario will see must be what was made
        odd = min(set(names) ^ wanted)
        raise RequestError(f"{staging.folder / odd} would not be read as it was made; rename it in the source.")
    if all(item.image for item in recipe.items):
        count = Counter(name.partition("/")[0] for name in names)
        train, test = count[TRAIN], count.total() - count[TRAIN]
        classes = tuple(sorted({name.split("/")[1] for name in names}))
    else:
        from benchmark.data.prepare.cifar_files import counted

        (train, test), classes = counted(staging.folder, progress), ()
    training = {about.sha256 for name, about in listed.items() if name.startswith(f"{TRAIN}/")}
    return Manifest(
        data_set=data_set.about.name,
        layout=recipe.layout,
        sources=_sources(catalogue),
        split=recipe.split,
        crop=f"{recipe.crop}, clipped to the image, saved as JPEG of quality {QUALITY} (4:4:4)" if recipe.crop else "",
        train=train,
        test=test,
        class_names=classes,
        in_both_splits=sum(
            about.sha256 in training for name, about in listed.items() if not name.startswith(f"{TRAIN}/")
        ),
        bytes=sum(about.size for about in listed.values()),
        warnings=(*recipe.notes, *_unlike(data_set, train, test, len(classes))),
        content=digest_of(staging.folder, files, [listed[name].sha256 for name in names]),
        files_sha256=file_digest(staging.folder / FILES),
        made_with={name: _version(name) for name in ("maskbench", "pillow")},
    )


def _unlike(data_set: DataSet, train: int, test: int, classes: int) -> Iterator[str]:
    """Totals unlike the published ones, in sentences."""
    about = data_set.about
    if (train, test) != about.images:
        yield (
            f"{train:,} training and {test:,} test images were prepared; {about.images[0]:,} and {about.images[1]:,} "
            "are published."
        )
    if classes and classes != about.classes:
        yield f"{classes:,} classes were prepared; {about.classes:,} are published."


def _sources(catalogue: Catalogue) -> dict[str, int]:
    found = {path.name: path.stat().st_size for path in catalogue.archives}
    return found or {catalogue.source.resolve().name: sum(catalogue.sizes.values())}


def _files(data_set: DataSet, folder: Path) -> list[Path]:
    """The files of a prepared folder, in the order in which its reader takes them."""
    if data_set.ready:
        from benchmark.data.folders import folder_source

        return list(folder_source(folder).files)
    from benchmark.data.cifar import find

    found = find(folder, "what was prepared is not whole.")
    files = dict.fromkeys(file for split in found.files.values() for file in split)
    meta = found.folder / "meta"
    return [*files, *([meta] if meta.is_file() else [])]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
