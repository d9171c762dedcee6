"""``digits``: scikit-learn's handwritten digits in five tasks of two classes. Embedded: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.scenarios.contract import Augmentation, Progress, Scenario, ScenarioData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmark.data.cache import Create

TASK_NAMES = ("zero-one", "two-three", "four-five", "six-seven", "eight-nine")
TEST_EVERY = 5  #: every fifth image of a digit, in the data's order, is a test image


def read(data_root: Path | None, indices: Sequence[int], progress: Progress) -> ScenarioData:
    """Images uint8 (n, 1, 8, 8), grey levels 0..16 of the source scaled to 0..255; a fixed split, about 80 to 20."""
    from importlib.metadata import version

    from benchmark.data.cache import key_of, open_or_build
    from benchmark.data.tasks import sliced_tasks

    key = key_of("digits", version("scikit-learn"))
    entry = open_or_build("digits", key, lambda create: _build(create, progress))
    return sliced_tasks(entry, indices, Augmentation(), "digits")


def _build(create: Create, progress: Progress) -> dict[str, Any]:
    import numpy as np

    from benchmark.data.tasks import LabelledTask, write_sliced

    progress("digits", 0, 1)
    levels, digits = load()
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[:, None]
    number = np.zeros(len(digits), dtype=np.int64)  # of each image among those of its digit
    for digit in range(10):
        number[digits == digit] = np.arange((digits == digit).sum())
    is_test = number % TEST_EVERY == TEST_EVERY - 1
    tasks = [LabelledTask(name, (str(2 * at), str(2 * at + 1))) for at, name in enumerate(TASK_NAMES)]
    meta = write_sliced(
        create,
        tasks,
        {"train": images[~is_test], "test": images[is_test]},
        {"train": digits[~is_test], "test": digits[is_test]},
    )
    progress("digits", 1, 1)
    return meta


def load() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Grey levels 0..16 (1797, 8, 8) and digits (1797,), in scikit-learn's order.

    Straight from the file that scikit-learn ships: importing the library for it would cost seconds.
    """
    import importlib.util

    import numpy as np

    package = importlib.util.find_spec("sklearn")
    file = Path(package.origin).parent / "datasets/data/digits.csv.gz" if package and package.origin else None
    if file is not None and file.is_file():
        table = np.loadtxt(file, delimiter=",").astype(np.int64)
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    source = load_digits()
    return source.images.astype(np.int64), source.target.astype(np.int64)


SCENARIO = Scenario(
    name="digits",
    protocol="digits",
    title="Handwritten digits",
    summary="scikit-learn's handwritten digits, 5 tasks x 2 classes, 8 x 8 grey; embedded, for a first look and tests",
    task_names=TASK_NAMES,
    classes=(2,) * len(TASK_NAMES),
    read=read,
    backbone="small_cnn",
    image_size=8,
    channels=1,
    threads=1,  # layers this small are done before a second thread has woken
    data_help="nothing: the images come with scikit-learn",
    source="scikit-learn's load_digits; the test set of Alpaydin and Kaynak's recognition of handwritten digits",
)
