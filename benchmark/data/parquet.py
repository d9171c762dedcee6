"""Images in parquet files, as Hugging Face lays them out: an image column (bytes inside) and a label column."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from benchmark.data.images import Encoded
from benchmark.data.listing import Listing, TaskSource, normal
from benchmark.data.parquet_pages import BadPages, largest_page
from benchmark.errors import RequestError, did_you_mean
from methods.engine.knobs import shown
from results.atomic import require_regular
from results.units import in_units

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "coarse_label")
MOST_ROWS = 20_000_000  #: of a split; the largest collections of labelled images have 14 million
MOST_LABEL_BYTES = 1000  #: of a label that is a name
MOST_TEXT_BYTES = 2**30  #: of all the names in a split's label column, as many as it has rows
ROWS = {"image": 512, "label": 65536}  #: held in memory at a time, where one may not be too large for so many
HELD_BYTES = 128 * 2**20  #: of such rows, at most, as far as the sizes of pages tell


@dataclass(frozen=True)
class Columns:
    """Names of the two columns; None: the first of the usual names that is there."""

    image: str | None = None
    label: str | None = None


def parquet_source(train: Sequence[Path], test: Sequence[Path], columns: Columns = Columns()) -> TaskSource:
    """A task from its train and test files, each file once. Raises RequestError when one is absent or in both."""
    files = {"train": _once(train), "test": _once(test)}
    every = (*files["train"], *files["test"])
    for file in every:
        if not file.exists():
            raise RequestError(f"There is no file {file}.")
        require_ordinary(file)
    learned = {os.path.realpath(file) for file in files["train"]}
    for file in files["test"]:
        if os.path.realpath(file) in learned:
            raise RequestError(
                f"{file} is among the training files and among the test files, so that what is learned would be "
                "tested; name the training files with a narrower pattern, such as train-*.parquet."
            )
    absolute = tuple(file.absolute() for file in every)
    root = absolute[0].parent
    if not all(file.is_relative_to(root) for file in absolute):
        root = Path(os.path.commonpath(absolute))
    return TaskSource(
        root=root,
        files=absolute,
        listing=lambda split: list_files(files[split], columns),
        options=("parquet", len(files["train"]), columns.image, columns.label),
    )


def _once(files: Sequence[Path]) -> tuple[Path, ...]:
    """Every file the first time that it is named, under whatever name."""
    named: dict[str, Path] = {}
    for file in files:
        named.setdefault(os.path.realpath(file), file)
    return tuple(named.values())


def list_files(files: Sequence[Path], columns: Columns = Columns()) -> Listing:
    """The rows of one split, its files in the order given.

    Class names come from the schema metadata (``class_names``, or Hugging Face's features), else from the labels
    themselves: texts, or whole numbers, each one present being a class. Raises RequestError naming file and fault.
    """
    schemas = [read_schema(file) for file in files]
    image = pick_column(files[0], schemas[0], columns.image, IMAGE_COLUMNS, "image")
    label = pick_column(files[0], schemas[0], columns.label, LABEL_COLUMNS, "label")
    for file, schema in zip(files, schemas, strict=True):
        require_columns(file, schema, (image, label), files[0])
    read = [read_labels(file, label) for file in files]
    names = class_names(files[0], schemas[0], label)
    for file, schema, found in zip(files, schemas, read, strict=True):
        if found.dtype.kind != read[0].dtype.kind:
            raise RequestError(f"Column {label!r} holds numbers in one of {files[0]} and {file}, texts in the other.")
        if class_names(file, schema, label) != names:
            raise RequestError(f"The class names in {file} differ from those in {files[0]}.")
    labels = joined(read, files[0])
    where = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    if not len(labels):
        raise RequestError(f"{where} holds no images.")
    if names is None:
        present, labels = np.unique(labels, return_inverse=True)
        names = tuple(str(value) for value in present)
    elif labels.dtype.kind not in "iu":
        labels = _numbered(labels, names, where)
    return Listing(where, names, labels.astype(np.int64), lambda: read_images(files, image))


def _numbered(labels: NDArray[Any], names: tuple[str, ...], where: str) -> NDArray[np.int64]:
    """Labels that are class names, as indices."""
    index = {name: at for at, name in enumerate(names)}
    for label in labels.tolist():
        if label not in index:
            raise RequestError(f"{where}: label {label!r} is not among the file's class names.")
    return np.array([index[label] for label in labels.tolist()], dtype=np.int64)


def read_schema(file: Path) -> Any:
    """The file's Arrow schema. Raises RequestError when it is no whole parquet file, or none at all but a pipe."""
    require_ordinary(file)
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _broken(file, error) from error


def pick_column(file: Path, schema: Any, named: str | None, usual: Sequence[str], what: str) -> str:
    """The column ``named``, or the first of the ``usual`` names. Raises RequestError when it is not there."""
    if named is not None and named not in schema.names:
        raise RequestError(f"{file} has no column {named!r}.{did_you_mean(named, schema.names)}")
    for name in [named] if named is not None else usual:
        if name in schema.names:
            return name
    raise RequestError(
        f"{file} has no {what} column ({' or '.join(usual)}); its columns are {', '.join(schema.names)}: "
        f"name one with {what}_column."
    )


def require_columns(file: Path, schema: Any, names: Sequence[str], first: Path) -> None:
    """Raises RequestError when ``file`` lacks a column of the ``first`` file of its split."""
    for name in names:
        if name not in schema.names:
            raise RequestError(
                f"{file} has no column {name!r}, which {first} has; its columns are {', '.join(schema.names)}."
            )


def read_labels(file: Path, column: str) -> NDArray[Any]:
    """One column of whole numbers (n,) or of texts. Raises RequestError when it holds nulls or something else."""
    parts: list[NDArray[Any]] = []
    without = 0
    for values in _read(file, column, "label"):
        without += values.null_count
        if not without:
            try:
                parts.append(_labels_of(file, column, values))
            except (pa.ArrowException, ValueError) as error:
                raise _broken(file, error) from error
    if without:
        raise RequestError(f"{file}: column {column!r} has {without:,} rows without a label.")
    return joined(parts, file) if parts else np.zeros(0, dtype=np.int64)


def _labels_of(file: Path, column: str, values: Any) -> NDArray[Any]:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    values = _without_views(values)
    if pa.types.is_integer(values.type):
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.int64)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        if len(values) and (longest := pc.max(pc.binary_length(values)).as_py()) > MOST_LABEL_BYTES:
            raise RequestError(f"{file}: column {column!r} holds a name of {in_units(longest)}; name classes shorter.")
        return np.asarray([normal(text) for text in values.to_pylist()], dtype=str)
    raise RequestError(f"{file}: column {column!r} holds {values.type}, not whole numbers or names.")


def joined(parts: Sequence[NDArray[Any]], file: Path) -> NDArray[Any]:
    """Labels one after another. Raises RequestError for more than fit the memory; ``file``: the first of theirs."""
    rows = sum(len(part) for part in parts)
    if rows > MOST_ROWS:
        raise RequestError(f"{file}: a split of {rows:,} rows; at most {MOST_ROWS:,} are taken.")
    if parts[0].dtype.kind == "U" and rows * max(part.dtype.itemsize for part in parts) > MOST_TEXT_BYTES:
        raise RequestError(
            f"{file}: the class names of {rows:,} rows are too long to be held in memory; write labels as whole "
            "numbers, and the names once, as class_names in the metadata."
        )
    return np.concatenate(parts)


def _read(file: Path, column: str, what: str) -> Iterator[Any]:
    """A column, some rows after others. Raises RequestError when the file is not whole, or unpacks to too much."""
    try:
        with file.open("rb") as raw, pq.ParquetFile(file) as opened:
            if opened.metadata.num_rows > MOST_ROWS:
                raise BadPages(f"has {opened.metadata.num_rows:,} rows; at most {MOST_ROWS:,} are taken")
            largest = largest_page(raw, opened.metadata, column)  # a value is no larger
            rows = min(ROWS[what], max(1, HELD_BYTES // max(1, largest)))
            for batch in opened.iter_batches(batch_size=rows, columns=[column]):
                yield batch.column(column)
    except BadPages as error:
        raise RequestError(f"{file} {error}; it is not read: get it again, or write it anew.") from error
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _broken(file, error) from error


def class_names(file: Path, schema: Any, label: str) -> tuple[str, ...] | None:
    """The names in the schema's metadata: ``class_names`` (a list, or lists by column) or Hugging Face's features."""
    metadata = schema.metadata or {}
    try:
        if b"class_names" in metadata:
            names = json.loads(metadata[b"class_names"])
            names = names.get(label) if isinstance(names, dict) else names
        elif b"huggingface" in metadata:
            names = json.loads(metadata[b"huggingface"])["info"]["features"].get(label, {}).get("names")
        else:
            return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(f"{file}: the class names in its metadata cannot be read ({shown(error)}).") from error
    return None if names is None else tuple(normal(str(name)) for name in names)


def read_images(files: Sequence[Path], column: str) -> Iterator[tuple[str, Encoded]]:
    """(name, encoded image; None: it has no bytes) of every row, file after file."""
    for file in files:
        row = 0
        for values in _read(file, column, "image"):
            try:
                encoded = _bytes_of(file, values)
            except (pa.ArrowException, ValueError) as error:
                raise _broken(file, error) from error
            for value in encoded:
                yield f"{file}, row {row}", value
                row += 1


def _bytes_of(file: Path, values: Any) -> list[bytes | None]:
    if pa.types.is_struct(values.type) and values.type.get_field_index("bytes") >= 0:
        values = values.field("bytes")
    values = _without_views(values)
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        raise RequestError(f"{file}: the image column holds {values.type}, not encoded images.")
    return list(values.to_pylist())


def _without_views(values: Any) -> Any:
    """``string_view`` and ``binary_view`` (how polars and newer writers keep columns) as the ordinary types."""
    ordinary = {"string_view": pa.large_string(), "binary_view": pa.large_binary()}.get(str(values.type))
    return values if ordinary is None else values.cast(ordinary)


def require_ordinary(file: Path) -> None:
    """Raises RequestError for a folder, a pipe or a device, which could not be read to its end."""
    try:
        require_regular(file)
    except OSError as error:
        raise RequestError(f"{file} cannot be read ({error.strerror}); put a parquet file in its place.") from error


def _broken(file: Path, error: Exception) -> RequestError:
    detail = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return RequestError(f"{file} is not a whole parquet file ({detail}); get it again.")
