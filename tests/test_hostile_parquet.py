"""Small files that unpack to a lot, patterns that would walk through a whole disk: a sentence, and little memory."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmark.cli.main import main
from benchmark.data import images, parquet, parquet_pages, patterns
from benchmark.data.parquet_pages import BadPages, largest_page, pages
from benchmark.errors import RequestError


def picture(side: int = 8, seed: int = 0) -> bytes:
    """A PNG of noise, which does not compress: about ``3 * side ** 2`` bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def table(contents: list[Any], labels: Any) -> pa.Table:
    return pa.table({"image": pa.array([{"bytes": content} for content in contents]), "label": labels})


def test_headers_of_pages_account_for_every_byte(tmp_path: Path) -> None:
    """Of all encodings and versions that pyarrow writes."""
    contents = [picture(seed=number) for number in range(300)]
    whole = table(contents, pa.array([f"class {number % 7}" for number in range(300)]))
    for number, how in enumerate(
        (
            {},
            {"compression": "zstd", "data_page_version": "2.0"},
            {"use_dictionary": False, "compression": "gzip", "data_page_size": 1000, "write_batch_size": 10},
            {"use_dictionary": False, "column_encoding": {"image.bytes": "DELTA_BYTE_ARRAY", "label": "PLAIN"}},
            {"row_group_size": 50, "write_page_checksum": True, "write_page_index": True},
        )
    ):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(whole, path, **how)
        metadata = pq.read_metadata(path)
        with path.open("rb") as file:
            for group in range(metadata.num_row_groups):
                for column in range(metadata.num_columns):
                    chunk = metadata.row_group(group).column(column)
                    found = list(pages(file, parquet_pages._start(chunk), chunk.total_compressed_size))
                    assert sum(page.header + page.packed for page in found) == chunk.total_compressed_size
                    assert sum(page.header + page.unpacked for page in found) == chunk.total_uncompressed_size
            assert 0 < largest_page(file, metadata, "label") < largest_page(file, metadata, "image") < 300 * 400
            assert largest_page(file, metadata, "imag") == 0
        assert [content for _, content in parquet.read_images([path], "image")] == contents


def test_headers_that_are_none(tmp_path: Path) -> None:
    cases = {
        b"": "ends within a page",
        b"\x15\x00\x15": "ends within a page",
        b"\x15\x00\x00": "a page without a size",  # only a type
        b"\x1f" + b"\x00" * 9: "no Thrift structure",
        b"\x15" + b"\xff" * 20: "no Thrift structure",
        b"\x1c" * 100: "nested too deeply",
        b"\x15\x00\x15\x01\x15\x02\x00": "a page without a size",  # -1 bytes unpacked
        b"\x19\xfc" + b"\xff" * 8 + b"\x01" + b"\x00" * 50: "ends within a page",  # a list of 2**63 structures
    }
    for content, told in cases.items():
        with pytest.raises(BadPages, match=told):
            list(pages(io.BytesIO(content), 0, 100))
    with pytest.raises(BadPages, match="before its beginning"):
        list(pages(io.BytesIO(b"x" * 100), -50, 10))


def test_a_page_that_unpacks_to_a_lot_is_refused_before_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 MiB of zeros are a few KiB of zstd; as large, but of noise, is right."""
    monkeypatch.setattr(parquet_pages, "LARGEST_PAGE", 20 << 20)
    path = tmp_path / "train.parquet"
    pq.write_table(table([picture(), b"\0" * (30 << 20)], [0, 1]), path, compression="zstd")
    assert path.stat().st_size < 10_000
    before = pa.default_memory_pool().bytes_allocated()
    with pytest.raises(RequestError, match=r"holds a page of \S+ KiB that unpacks to 30 MiB; it is not read: get it "):
        next(parquet.read_images([path], "image"))
    assert pa.default_memory_pool().bytes_allocated() - before < 1 << 20
    noise = os.urandom(30 << 20)
    pq.write_table(table([picture(), noise], [0, 1]), path, compression="zstd")
    assert [content for _, content in parquet.read_images([path], "image")] == [picture(), noise]


def test_one_large_image_a_thousand_times_is_held_a_few_times_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dictionary has it once; all rows together would be 1.2 GiB."""
    content, path = picture(640), tmp_path / "train.parquet"
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([content]))
    pq.write_table(pa.table({"image": values.cast(pa.binary()), "label": [0] * 1000}), path, compression="none")
    assert len(content) > 1_200_000 > path.stat().st_size - len(content)
    monkeypatch.setattr(parquet, "HELD_BYTES", 16 << 20)
    pool = pa.default_memory_pool()
    before, most, rows = pool.bytes_allocated(), 0, 0
    for _, found in parquet.read_images([path], "image"):
        most, rows = max(most, pool.bytes_allocated() - before), rows + 1
        assert found is not None
        assert len(found) == len(content)
    assert rows == 1000
    assert most < 64 << 20


def test_images_decoded_together_are_few_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "CHUNK_BYTES", 1000)
    pairs = [(str(number), b"x" * size) for number, size in enumerate([400, 400, 400, 5000, 1, 1])]
    assert [[name for name, _ in chunk] for chunk in images._chunks(pairs)] == [["0", "1", "2"], ["3"], ["4", "5"]]
    many = [(str(number), Path("x")) for number in range(600)]
    assert [len(chunk) for chunk in images._chunks(many)] == [256, 256, 88]
    assert list(images._chunks([])) == []


@pytest.mark.parametrize(
    ("labels", "change", "told"),
    [
        (pa.array([0, 1] * 3000), {"MOST_ROWS": 5000}, "has 6,000 rows; at most 5,000 are taken; it is not read"),
        (pa.array(["a", "b" * 2000] * 2), {}, "holds a name of 2 KiB; name classes shorter."),
        (pa.array(["a", "b" * 500] * 10), {"MOST_TEXT_BYTES": 30_000}, "are too long to be held in memory"),
        (pa.array([0, None] * 4), {}, "column 'label' has 4 rows without a label."),
    ],
)
def test_labels_that_would_not_fit(
    labels: pa.Array, change: dict[str, int], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        monkeypatch.setattr(parquet, name, value)
    content, path = picture(), tmp_path / "train.parquet"
    pq.write_table(table([content] * len(labels), labels), path)
    with pytest.raises(RequestError, match=told.replace(".", r"\.")):
        parquet.list_files([path])


def test_several_files_are_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound holds for all of them together; labels come in the order of rows, however many are read at a time."""
    paths = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, path in enumerate(paths):
        labels = [f"{(number + row) % 5}" for row in range(10)]
        pq.write_table(table([picture()] * 10, labels), path)
    monkeypatch.setattr(parquet, "ROWS", {"image": 3, "label": 3})
    expected = [(number + row) % 5 for number in range(3) for row in range(10)]
    assert parquet.list_files(paths).labels.tolist() == expected
    monkeypatch.setattr(parquet, "MOST_ROWS", 25)
    with pytest.raises(RequestError, match=r"0\.parquet: a split of 30 rows; at most 25 are taken\."):
        parquet.list_files(paths)


def test_class_names_that_are_nested_a_hundred_thousand_deep(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pq.write_table(
        table([picture()], [0]).replace_schema_metadata({"class_names": "[" * 100_000}), path, compression="zstd"
    )
    with pytest.raises(RequestError, match="the class names in its metadata cannot be read"):
        parquet.list_files([path])


# ---------------------------------------------------------------------- patterns and folders


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Parquet files at several levels, hidden ones, links, one of them to a folder above."""
    for name in ("a/b/c/x1.parquet", "a/x2.parquet", "a/.h/x.parquet", ".g/x.parquet", "b/x3.parquet", "z[1].parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    (tmp_path / "broken").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.parquet", ["z[1].parquet"]),
        ("z[[]1].parquet", ["z[1].parquet"]),
        ("z[1].parquet", ["z[1].parquet"]),
        ("**/*.parquet", ["a/b/c/x1.parquet", "a/x2.parquet", "b/x3.parquet", "link/x3.parquet", "z[1].parquet"]),
        ("a/**/x?.parquet", ["a/b/c/x1.parquet", "a/x2.parquet"]),
        ("?/*.parquet", ["a/x2.parquet", "b/x3.parquet"]),
        ("*/../b/*", ["a/../b/x3.parquet", "b/../b/x3.parquet", "link/../b/x3.parquet"]),
        (".g/*", [".g/x.parquet"]),
        ("a/.*/*", ["a/.h/x.parquet"]),
        ("b/**", ["b/x3.parquet"]),
        ("**/**/x1.parquet", ["a/b/c/x1.parquet"]),
    ],
)
def test_patterns_name_what_a_shell_names(pattern: str, names: list[str], tree: Path) -> None:
    assert patterns.matching(tree, [pattern]) == [tree / name for name in names]
    assert patterns.matching(Path("/"), [f"{tree}/{pattern}"]) == [tree / name for name in names]


def test_a_link_to_a_folder_above_is_no_circle(tree: Path) -> None:
    (tree / "a" / "up").symlink_to(tree)
    found = patterns.matching(tree, ["**/x2.parquet"])
    assert tree / "a/x2.parquet" in found
    assert len(found) < 5


def test_a_pattern_does_not_walk_through_a_disk(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MOST_ENTRIES", 2000)
    started = time.process_time()
    with pytest.raises(RequestError) as caught:
        patterns.matching(tree, ["/**"])
    assert str(caught.value) == (
        "The pattern /** looks through more than 2,000 files and folders; name a narrower one."
    )
    assert time.process_time() - started < 5
    deep = tree / "deep"
    deep.mkdir()
    for _ in range(60):
        deep = deep / "d"
        deep.mkdir()
    with pytest.raises(RequestError, match="looks through folders more than 50 levels deep; name a narrower one"):
        patterns.matching(tree, ["**/*.parquet"])


@pytest.mark.timeout(60)
@pytest.mark.parametrize("task", ["train: /**, test: /**", "folder: /, split: 0.2", "train: /*/*/*/*, test: /dev/*"])
def test_a_scenario_of_the_whole_disk_is_refused(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(patterns, "MOST_ENTRIES", 5000)
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nbackbone: small_cnn\nimage_size: 8\ntasks: [{{name: one, {task}}}]\n")
    started = time.process_time()
    assert main(["check", "--scenario", str(path)]) == 2
    assert time.process_time() - started < 20
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error: ", "not ready: "))]
    assert len(lines) == 1


def test_a_class_without_images_is_told_before_the_next_is_walked(tmp_path: Path) -> None:
    from benchmark.data.folders import folder_source

    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "train/a/notes.txt").write_text("")
    os.chmod(tmp_path / "train/b", 0)
    with pytest.raises(RequestError, match=r"Class folder \S+/train/a holds no images .*, only 1 \.txt"):
        folder_source(tmp_path)
