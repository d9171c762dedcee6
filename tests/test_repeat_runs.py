"""Same spec, same numbers; another seed, other numbers; and a record is enough to repeat its run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from small_runs import FIVE, numbers, read_json, run_here, small_options, small_spec, stored

from benchmark.cli.main import main
from benchmark.execute.executors import Job, LocalExecutor
from benchmark.execute.runner import run
from benchmark.execute.store import run_folder
from benchmark.plan.repeat import identical, verdict
from benchmark.plan.spec import RunSpec
from methods.engine.augment import Augmenting
from methods.engine.streams import Streams
from methods.engine.tensor_data import TensorImages
from methods.settings import MaskedSettings
from results.reader import read_record
from results.seal import sealed


@pytest.mark.parametrize("method", FIVE)
def test_repeat_from_a_record_gives_identical_accuracies_and_masks(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_spec(method, epochs=1 if method == "cpg" else 3)
    first, _ = run_here(spec, small_options(tmp_path / "first"))
    record = tmp_path / "first" / spec.run_id / "result.json"
    words = ["run", "--from-record", str(record), "--results", str(tmp_path / "again"), "--executor", "local"]
    assert main([*words, "--keep-weights", "all"]) == 0
    assert "repeat: identical" in capsys.readouterr().out
    again = read_record(tmp_path / "again" / spec.run_id / "result.json")
    assert again.accuracy_matrix == first.accuracy_matrix
    assert numbers(again) == numbers(first)
    assert stored(tmp_path / "again" / spec.run_id) == stored(tmp_path / "first" / spec.run_id)
    assert len(stored(tmp_path / "again" / spec.run_id)) == 4  # three tasks and what they share


def test_repeat_that_comes_out_otherwise_says_what_was_different(tmp_path: Path) -> None:
    record, _ = run_here(small_spec("head-only", tasks=1, epochs=1), small_options(tmp_path))
    assert verdict(record, record).startswith("identical")
    host = {**record.provenance["host"], "threads": 8}
    other = dataclasses.replace(
        record,
        accuracy_matrix=((0.5,),),
        mean_accuracy=0.5,
        provenance={**record.provenance, "host": host, "data_fingerprint": "d"},
    )
    told = verdict(other, record)
    name, found = record.tasks[0].name, record.accuracy_matrix[0][0]
    assert told.startswith(
        f"not identical: accuracy on {name} after learning {name} is {found}, the record has 0.5 (data d then"
    )
    assert told.endswith("; threads 8 then, 1 now)")


def test_repeat_tells_other_bits_from_the_same_accuracies(tmp_path: Path) -> None:
    record, _ = run_here(small_spec("head-only", tasks=1, epochs=1), small_options(tmp_path))
    name = record.tasks[0].name
    assert set(record.learned_sha256) == {name, "(backbone)"}
    assert "every bit" in verdict(record, record)
    other = dataclasses.replace(record, learned_sha256={**record.learned_sha256, name: "0" * 64})
    assert not identical(other, record)
    assert f"but the bits kept of {name} do not" in verdict(other, record)
    older = dataclasses.replace(record, learned_sha256={})  # a record from before they were noted
    assert identical(older, record)


def test_repeat_takes_the_records_threads_and_nothing_else_of_the_run_may_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_spec("head-only", tasks=1, epochs=1)
    (_, first), *_ = LocalExecutor().run([Job(spec, small_options(tmp_path / "first", threads=2))], lambda *_: None)
    assert first is not None
    assert first.provenance["host"]["threads"] == 2
    assert torch.get_num_threads() == 1
    record = tmp_path / "first" / spec.run_id / "result.json"
    words = ["run", "--from-record", str(record), "--executor", "local", "--results"]
    assert main([*words, str(tmp_path / "again")]) == 0
    again = read_record(tmp_path / "again" / spec.run_id / "result.json")
    assert again.provenance["host"]["threads"] == 2
    assert main([*words, str(tmp_path / "third"), "--epochs", "3", "--set", "head-only.lr=1"]) == 2
    assert "leave out --epochs, --set" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_repeat_of_a_copied_record_is_not_compared_with_the_run_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_spec("head-only", tasks=1, epochs=1)
    run_here(spec, small_options(tmp_path / "runs"))
    copy = tmp_path / "copy.json"
    copy.write_bytes((tmp_path / "runs" / spec.run_id / "result.json").read_bytes())
    assert main(["run", "--from-record", str(copy), "--results", str(tmp_path / "runs")]) == 2
    assert "would be compared with itself" in capsys.readouterr().err


def test_repeat_that_comes_out_otherwise_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = small_spec("head-only", tasks=1, epochs=1)
    run_here(spec, small_options(tmp_path / "runs"))
    path = tmp_path / "runs" / spec.run_id / "result.json"
    value = read_json(path)
    value |= {"accuracy_matrix": [[0.125]], "mean_accuracy": 0.125}
    value["tasks"][0] |= {"accuracy": 0.125, "accuracy_at_end": 0.125}
    path.write_text(json.dumps(sealed(value)))
    words = ["run", "--from-record", str(path), "--results", str(tmp_path / "again"), "--executor", "local"]
    assert main(words) == 1
    assert "the record has 0.125" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "kms"}, "there is no method 'kms' here"),
        ({"selection": "x"}, "selection is 'x', none of validation, last, legacy-test"),
        ({"scenario": "../../x"}, "its scenario '../../x' is no name of a folder"),
        ({"seed": "x"}, "seed is 'x', not a whole number"),
        ({"protocol": None}, "protocol is null, not a mapping"),
        ({"settings": {}}, "its settings has no epochs"),
        ({"settings": {"epochs": 1, "lr": "x"}}, "lr is 'x', not a number"),
        ({"task_indices": []}, "its tasks do not begin with the initial one"),
        ({"task_indices": [9], "initial_task": 9}, "digits has no task 9"),
        ({"backbone": {"name": "small_cnn"}}, "its backbone has no channels, image_size, pretrained"),
    ],
)
def test_repeat_refuses_a_spec_that_cannot_be_carried_out(
    change: dict[str, object], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small_spec("head-only", tasks=1, epochs=1)
    value = {
        "schema_version": 1,
        "run_id": "one",
        "status": "failed",
        "spec": spec.to_json() | change,
        "provenance": {},
    }
    path = tmp_path / "result.json"
    path.write_text(json.dumps(value))
    assert main(["run", "--from-record", str(path), "--results", str(tmp_path / "runs")]) == 2
    assert words in capsys.readouterr().err


def test_repeat_keeps_every_field_of_the_spec_and_the_run_id(tmp_path: Path) -> None:
    spec = small_spec("cpg", tasks=1, epochs=1, seeds=(3,), bn_policy="frozen", overrides={"protocol.batch_size": 16})
    run_here(spec, small_options(tmp_path))
    value = read_json(tmp_path / spec.run_id / "result.json")["spec"]
    again = RunSpec.from_json(value)
    assert again.run_id == spec.run_id
    assert again.seed == 3
    assert again.bn_policy == "frozen"
    assert again.protocol.batch_size == 16
    assert again.settings.prune_ratios == (0.3, 0.6)  # type: ignore[attr-defined]


def test_repeat_with_another_seed_gives_other_numbers(tmp_path: Path) -> None:
    one, two = (small_spec("ksm", epochs=3, seeds=(seed,)) for seed in (0, 1))
    assert one.run_id != two.run_id
    first, _ = run_here(one, small_options(tmp_path))
    second, _ = run_here(two, small_options(tmp_path))
    losses = [[point.loss for point in row.curve] for record in (first, second) for row in record.tasks]
    assert losses[1] != losses[4]
    assert first.mask_statistics != second.mask_statistics


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"bn_policy": "frozen"},
        {"precision": "tf32"},
        {"train_limit": 7},
        {"task_indices": (2, 1, 3)},
        {"settings": MaskedSettings(epochs=5)},
    ],
)
def test_repeat_run_id_changes_with_everything_that_changes_a_number(change: dict[str, object]) -> None:
    spec = small_spec("ksm")
    assert dataclasses.replace(spec, **change).run_id != spec.run_id  # type: ignore[arg-type]


def test_repeat_run_id_does_not_change_with_names() -> None:
    spec = small_spec("ksm")
    assert dataclasses.replace(spec, scenario_title="other words").run_id == spec.run_id
    renamed = dataclasses.replace(spec, backbone=dataclasses.replace(spec.backbone, weights="moved.safetensors"))
    assert renamed.run_id == spec.run_id


# ---------------------------------------------------------------------- named streams

NAMES = ("order", "augmentation", "initialisation", "noise", "validation")


def test_repeat_every_stream_of_every_task_and_seed_is_its_own() -> None:
    derived = {Streams(seed).derive(name, task) for seed in range(5) for name in NAMES for task in range(20)}
    assert len(derived) == 5 * len(NAMES) * 20
    assert all(0 <= value < 2**63 for value in derived)


def images(augmenting: Augmenting) -> TensorImages:
    pixels = torch.arange(40 * 64, dtype=torch.int64).remainder(251).to(torch.uint8).view(40, 1, 8, 8)
    return TensorImages(pixels, torch.arange(40), (0.5,), (0.5,), augmenting)


def orders(augmenting: Augmenting, epochs: int = 3) -> list[list[int]]:
    """The images' order in each epoch, told by their labels."""
    device = torch.device("cpu")
    order, augmentation = (Streams(0).generator(name, 4, device) for name in ("order", "augmentation"))
    split = images(augmenting)
    return [
        torch.cat([labels for _, labels in split.training_batches(16, order, augmentation)]).tolist()
        for _ in range(epochs)
    ]


def test_repeat_augmentation_does_not_disturb_the_order() -> None:
    plain = orders(Augmenting(8))
    assert plain == orders(Augmenting(8, crop_padding=2, flip=True, cutout=3))
    assert plain[0] != plain[1]
    assert sorted(plain[0]) == list(range(40))


def test_repeat_drawing_the_initial_weights_disturbs_nobody_and_nobody_disturbs_it() -> None:
    streams = Streams(0)
    torch.manual_seed(5)
    undisturbed = torch.rand(3)
    torch.manual_seed(5)
    with streams.initialising(2):
        first = torch.rand(4)
    assert torch.equal(torch.rand(3), undisturbed)
    with streams.initialising(2):
        assert torch.equal(torch.rand(4), first)
    with streams.initialising(3):
        assert not torch.equal(torch.rand(4), first)


def test_repeat_mask_noise_leaves_order_and_initial_weights(tmp_path: Path) -> None:
    """With noise on, the first task (trained without a mask) and every head's start are the same as without."""
    quiet, _ = run_here(small_spec("ksm"), small_options(tmp_path))
    loud, _ = run_here(small_spec("ksm", overrides={"mask.noise": True}), small_options(tmp_path))
    assert quiet.tasks[0].accuracy == loud.tasks[0].accuracy
    assert quiet.task1_network is not None
    assert loud.task1_network is not None
    assert quiet.task1_network["curve"] == loud.task1_network["curve"]
    assert loud.task1_network["reused"]


def test_repeat_validation_split_depends_on_seed_and_task_alone() -> None:
    import numpy as np

    from benchmark.execute.tensors import validation_split

    labels = np.repeat([0, 1, 2], [100, 40, 15])
    seeds = [Streams(0).derive("validation", 0), Streams(0).derive("validation", 1), Streams(1).derive("validation", 0)]
    splits = [validation_split(labels, seed) for seed in seeds]
    for train, validation in splits:
        assert sorted([*train, *validation]) == list(range(155))
        assert np.bincount(labels[validation]).tolist() == [10, 4, 2]  # a tenth of each, half up
    assert len({tuple(validation) for _, validation in splits}) == 3
    assert np.array_equal(validation_split(labels, seeds[0])[1], splits[0][1])


def test_repeat_task_does_not_depend_on_the_tasks_before_it(tmp_path: Path) -> None:
    """Masked methods: task 3 learned second is task 3 learned third."""
    every = small_spec("piggyback")
    first, second, third = every.task_names
    swapped = dataclasses.replace(every, task_indices=(1, 3, 2), task_names=(first, third, second))
    straight, _ = run_here(every, small_options(tmp_path))
    turned, _ = run_here(swapped, small_options(tmp_path))
    for one, other in ((1, 2), (2, 1)):
        assert turned.tasks[one].name == straight.tasks[other].name
        assert turned.tasks[one].curve == straight.tasks[other].curve
        assert turned.tasks[one].accuracy == straight.tasks[other].accuracy


def test_repeat_that_is_killed_still_asks_for_the_run(tmp_path: Path) -> None:
    """--force on a finished run: its old record stays until there is another, but does not make the run finished."""
    spec = small_spec("head-only", tasks=2, epochs=1)
    run_here(spec, small_options(tmp_path))
    folder = run_folder(tmp_path, spec.run_id)
    folder.repeat()

    def kill(event: dict[str, object]) -> None:
        if event["type"] == "task-end":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, small_options(tmp_path), kill)
    assert folder.record.exists() and folder.checkpoint.exists() and folder.read_finished() is None
    again, _ = run_here(spec, small_options(tmp_path))
    assert again.provenance["sessions"] == 2 and folder.read_finished() is not None and not folder.to_be_repeated
