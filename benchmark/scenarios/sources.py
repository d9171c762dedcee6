"""What data sets are to be got, from whom, how large, where they must lie and what brings them there. Imports nothing
heavy: ``list`` and an empty folder are answered at once."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import RequestError

if TYPE_CHECKING:
    from benchmark.scenarios.contract import Scenario

WIDTH = 100  #: columns of a terminal
NO_BREAK = "\N{NO-BREAK SPACE}"
FORMS = "FROM may hold the archives, or what was unpacked from them"
READY = (
    "; or folders {train,test}/CLASS that are ready, as the authors of Piggyback and CPG share them (links in the "
    "README of each of their repositories)"
)


@dataclass(frozen=True)
class DataSource:
    """One data set as its authors publish it."""

    name: str  #: as ``data prepare`` takes it
    what: str
    get: str  #: files, in words
    size: str  #: to download, about
    page: str  #: address
    whose: str
    place: str  #: below the data root
    inside: str  #: what lies in that folder
    images: tuple[int, int]  #: training, test
    classes: int

    def folder(self, root: Path) -> Path:
        """Where it lies below a data root, which may be the scenario's own folder already."""
        first, _, rest = self.place.partition("/")
        return root / rest if rest and root.name == first else root / self.place


def _fine_grained(name: str, images: tuple[int, int], classes: int, *told: str) -> DataSource:
    what, get, size, page, whose = told
    return DataSource(
        name, what, get, size, page, whose, f"imagenet2sketch/{name}", "{train,test}/CLASS/*", images, classes
    )


#: in the order of ImageNet-to-Sketch
FINE_GRAINED = (
    _fine_grained(
        "cubs_cropped", (5994, 5794), 200,
        "Caltech-UCSD Birds-200-2011, cropped to its bounding boxes", "CUB_200_2011.tgz", "1.1 GB",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/", "Caltech Vision Lab",
    ),
    _fine_grained(
        "stanford_cars_cropped", (8144, 8041), 196,
        "Stanford Cars, cropped to its bounding boxes",
        "car_ims.tgz and cars_annos.mat; or cars_train.tgz, cars_test.tgz, car_devkit.tgz and "
        "cars_test_annos_withlabels.mat", "2 GB",
        "https://ai.stanford.edu/~jkrause/cars/car_dataset.html", "J. Krause; at times not online",
    ),
    _fine_grained(
        "flowers", (2040, 6149), 102,
        "Oxford Flowers-102, training and validation images merged",
        "102flowers.tgz, imagelabels.mat and setid.mat", "0.35 GB",
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", "Visual Geometry Group, Oxford",
    ),
    _fine_grained(
        "wikiart", (42129, 10628), 195,
        "WikiArt paintings, by artist or style; other classes than the papers' 195",
        "wikiart.zip, and artist_train.csv, artist_val.csv, artist_class.txt (or style_...)", "25 GB",
        "https://github.com/cs-chan/ArtGAN", "the ArtGAN repository, folder WikiArt Dataset",
    ),
    _fine_grained(
        "sketches", (16000, 4000), 250,
        "TU-Berlin, How do humans sketch objects? (split drawn here: none is published)",
        "sketches_png.zip", "0.5 GB",
        "https://cybertron.cg.tu-berlin.de/eitz/projects/classifysketch/", "TU Berlin",
    ),
)  # fmt: skip

CIFAR100 = DataSource(
    "cifar100",
    "CIFAR-100; run --download lets torchvision fetch it",
    "cifar-100-python.tar.gz; or train*.parquet and test*.parquet as Hugging Face exports them",
    "0.17 GB",
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    "A. Krizhevsky",
    "cifar100",
    "cifar-100-python/ or *.parquet",
    (50_000, 10_000),
    100,
)


def table(sources: Sequence[DataSource], root: Path | None = None) -> str:
    """What to get, five lines a data set, at most 100 columns where the root's own path is not longer.

    Args:
        root: the data root; None: ``DIR`` stands for it.
    """
    shown = Path("DIR") if root is None else root
    base = shown.parent if root is not None and shown.name == sources[0].place.partition("/")[0] else shown
    lines = ["What to get (nothing is downloaded for you), FROM being the folder you put it in:"]
    for source in sources:
        train, test = source.images
        lines += [
            "",
            f"{source.name}: {source.what}",
            *_field("get", f"{source.get}; about{NO_BREAK}{source.size.replace(' ', NO_BREAK)}"),
            *_field("from", f"{source.page} ({source.whose})"),
            f"  {'into':<5} {base / source.place}/{source.inside}",
            f"  {'with':<5} python -m benchmark data prepare {source.name} --from FROM --to {base}",
            f"  {'paper':<5} {train:,} training and {test:,} test images of {source.classes} classes",
        ]
    lines += ["", *textwrap.wrap(FORMS + (READY if any(source in FINE_GRAINED for source in sources) else ""), WIDTH)]
    return "\n".join(lines)


def _field(name: str, text: str) -> Iterator[str]:
    rows = textwrap.wrap(text, WIDTH - 8, break_long_words=False, break_on_hyphens=False)
    for at, row in enumerate(rows):
        yield f"  {name if not at else '':<5} {row}".replace(NO_BREAK, " ")


def absent(
    sentence: str, sources: Sequence[DataSource], root: Path | None, names: Collection[str] = ()
) -> RequestError:
    """An error for data that are not there, with what to get; ``names``: only these of them."""
    wanted = [source for source in sources if not names or source.name in names]
    return RequestError(f"{sentence}\n\n{table(wanted, root)}")


def tables_of_missing(scenario: Scenario, root: Path | None) -> list[str]:
    """What to get of a scenario whose data are not all there; empty where they are. Looks for folders only."""
    missing = [source for source in scenario.wanted if root is None or not source.folder(root).is_dir()]
    return [table(missing, root)] if missing else []


def root_of(scenario: Scenario, given: str | Path | None) -> Path | None:
    """The data root; see :func:`benchmark.data.locate.data_root`.

    Raises:
        RequestError: it names no folder; with what to get for the scenario.
    """
    from benchmark.data.locate import data_root

    try:
        return data_root(given)
    except RequestError as error:
        if not scenario.wanted:
            raise
        raise absent(str(error), scenario.wanted, Path(given) if given else None) from None
