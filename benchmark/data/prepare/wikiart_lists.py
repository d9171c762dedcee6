"""WikiArt as the ArtGAN repository hands it out: folders by style, and lists by artist or style.

``artist_train.csv`` and ``artist_val.csv`` (or ``style_...``) have lines ``Style/file.jpg,label``; ``artist_class.txt``
names the labels (``0 Albrecht_Durer``). The repository's own files have no ending, a heading and two commas. Artists
go before styles.
"""

from __future__ import annotations

from benchmark.data.prepare.bounds import class_folder, path_part
from benchmark.data.prepare.catalogue import Catalogue
from benchmark.data.prepare.recipe import TEST, TRAIN, Item, Recipe, by_id, checked, text_of

KINDS = ("artist", "style")
PARTS, ENDINGS = ("train", "val", "class"), (".csv", ".txt", "")
LISTS = tuple(f"{kind}_{part}{ending}" for kind in KINDS for part in PARTS for ending in ENDINGS)


def recipe(catalogue: Catalogue) -> Recipe | None:
    """The images of the lists; None where there are none. Raises RequestError where lists and images do not agree."""
    for kind in KINDS:
        lists = {part: _list(catalogue, f"{kind}_{part}") for part in PARTS}
        if lists["train"] is None and lists["val"] is None:
            continue
        for part, other in (("train", "val"), ("val", "train")):
            if lists[part] is None:
                raise catalogue.fault(f"{kind}_{part}.csv is missing, and {lists[other]} is there.")
        return _recipe(catalogue, kind, lists)
    return None


def _list(catalogue: Catalogue, stem: str) -> str | None:
    found = (catalogue.named(stem + ending) for ending in ENDINGS)
    return next((name for name in found if name is not None), None)


def _recipe(catalogue: Catalogue, kind: str, lists: dict[str, str | None]) -> Recipe:
    names = {} if lists["class"] is None else by_id(catalogue, lists["class"], 2)
    seen: dict[str, tuple[str, int]] = {}
    items, repeated, both, base = [], 0, 0, None
    for split, name in ((TRAIN, lists["train"]), (TEST, lists["val"])):
        assert name is not None
        for path, label in _lines(catalogue, name):
            if path in seen:
                if seen[path][1] != label:
                    raise catalogue.fault(f"{name} has {path} once more, with the label {label}, not {seen[path][1]}.")
                repeated += seen[path][0] == split
                both += seen[path][0] != split
                continue
            seen[path] = split, label
            if names and str(label) not in names:
                raise catalogue.fault(f"{name} has the label {label} for {path}, which {lists['class']} does not name.")
            if base is None:
                base = _base(catalogue, path, name)
            told = names.get(str(label), [""])[0]
            target = f"{split}/{class_folder(label, told)}/{path_part(path.replace('/', '__'))}"
            items.append(Item(catalogue.member(base + path) or base + path, target))
    made = checked(catalogue, items, f"{lists['train']} or {lists['val']}")
    notes = [f"{repeated:,} lines of the lists of {kind}s repeat an earlier one."] if repeated else []
    notes += [f"{both:,} images are in both lists of {kind}s; here they are training images only."] if both else []
    rule = f"{kind}_train lists the training images and {kind}_val the test images; classes are {kind}s"
    return Recipe(f"WikiArt with lists of {kind}s", rule, made, notes=tuple(notes))


def _lines(catalogue: Catalogue, name: str) -> list[tuple[str, int]]:
    found = []
    for number, line in enumerate(text_of(catalogue, name).splitlines(), start=1):
        path, _, label = line.strip().rpartition(",")
        path, label = path.rstrip(", ").strip('"'), label.strip(' "')
        if not label.isdecimal() or not path:
            if line.strip() and number > 1:  # the first may be a heading
                raise catalogue.fault(f"{name}, line {number}: {line.strip()[:80]!r} is not a path and a label.")
            continue
        found.append((path, int(label)))
    return found


def _base(catalogue: Catalogue, path: str, name: str) -> str:
    """What stands before the lists' paths in the source: ``wikiart/`` or nothing."""
    folder = path.rpartition("/")[0]
    if not folder:
        return ""
    for one in catalogue.sizes:
        before, found, _ = f"/{one}".partition(f"/{folder}/")
        if found:
            return f"{before.lstrip('/')}/" if before.lstrip("/") else ""
    raise catalogue.fault(f"there is no folder {folder}, and {name} names {path}; wikiart.zip has them.")
