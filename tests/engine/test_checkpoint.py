"""Reading refuses what is torn, foreign or unsafe; weights must fit; files appear whole."""

import logging
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file
from torch import nn
from toy import ToyModel

from xseg.engine import AtomicBackend, find_resumable, latest_checkpoints, load_strict, read_checkpoint
from xseg.engine.saving import dotted_name, plain


class Marker:
    """Unpickling this makes a folder."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Getattr:
    """Unpickling this looks an attribute up, as the first step of many attacks."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, "__init__")


def write(path, step: int) -> None:
    content = dict(meta=dict(iter=step, xseg={}), message_hub={}, optimizer={}, state_dict={"a": torch.ones(1000)})
    torch.save(content, path)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused_and_not_run(tmp_path, legacy):
    marker = tmp_path / "marker"
    torch.save(dict(state_dict={}, meta=Marker(marker)), tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"contains Python code objects \(posix.mkdir\).*refuses to run"):
        read_checkpoint(tmp_path / "x.pth")
    assert not marker.exists()


def test_getattr_is_restricted(tmp_path):
    torch.save(dict(state_dict={}, meta=Getattr()), tmp_path / "x.pth")
    with pytest.raises(ValueError, match="Python code objects"):
        read_checkpoint(tmp_path / "x.pth")


def test_openmmlab_file_with_history_is_read(tmp_path):
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    history._statistics_methods = dict(HistoryBuffer._statistics_methods)
    hub = dict(log_scalars=dict(loss=history), best=np.float64(0.5), ids=np.arange(3))
    torch.save(dict(state_dict=dict(w=torch.ones(2)), message_hub=hub, meta=dict(iter=3)), tmp_path / "mm.pth")
    found = read_checkpoint(tmp_path / "mm.pth")
    assert found["state_dict"]["w"].tolist() == [1, 1] and found["message_hub"]["log_scalars"]["loss"].mean() == 1.5


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"hello there", "is not a checkpoint"),
        (b"PK\x03\x04 and then nothing", "cut off"),
        (pickle.dumps([1, 2]), "."),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, message):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(tmp_path / "x.pth")
    assert "x.pth" in str(caught.value)


def test_missing_file_and_file_without_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "x.pth")
    torch.save(dict(a=1), tmp_path / "x.pth")
    with pytest.raises(ValueError, match="holds no weights"):
        read_checkpoint(tmp_path / "x.pth")


def test_safetensors_and_bare_state_dict(tmp_path):
    weights = dict(w=torch.arange(3.0))
    save_file(weights, tmp_path / "x.safetensors", metadata=dict(xseg='{"classes": ["a"]}'))
    torch.save(weights, tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        assert read_checkpoint(tmp_path / name)["state_dict"]["w"].tolist() == [0, 1, 2]
    assert read_checkpoint(tmp_path / "x.safetensors")["meta"]["xseg"]["classes"] == ["a"]


def flipped(path, position: int):
    """A copy of the file with one byte changed."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x41
    copy = path.with_name(f"flipped{path.suffix}")
    copy.write_bytes(content)
    return copy


def test_a_flipped_byte_never_loads_as_other_weights(tmp_path):
    """torch never compares a zip's CRCs: of 1781 such files 117 loaded as other weights, classes or iteration, and 152
    ended in BadZipFile, UnicodeDecodeError, IndexError or NotImplementedError. Padding between the parts may change."""
    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.arange(5)}
    meta = dict(iter=3, xseg=dict(classes=["a", "b"]))
    torch.save(dict(state_dict=state, meta=meta), path := tmp_path / "x.pth")
    refused = 0
    for position in range(0, path.stat().st_size, 7):
        try:
            content = read_checkpoint(flipped(path, position))
        except ValueError as error:
            assert "flipped.pth: " in str(error)
            refused += 1
        else:
            assert content["meta"] == meta and content["state_dict"].keys() == state.keys()
            assert all(torch.equal(content["state_dict"][name], value) for name, value in state.items())
    assert refused > 100


def test_a_flipped_byte_in_a_training_is_found_and_the_one_before_resumed(tmp_path, caplog):
    for step in (2, 4):
        write(tmp_path / f"iter_{step}.pth", step)
    flipped(tmp_path / "iter_4.pth", 2000).replace(tmp_path / "iter_4.pth")
    with caplog.at_level(logging.WARNING):
        assert find_resumable(tmp_path).name == "iter_2.pth"


def test_a_zip_without_checksums_is_read(tmp_path):
    """torch can be told to write none; they are 0 then."""
    checksums = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(w=torch.arange(3.0)), tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(checksums)
    assert read_checkpoint(tmp_path / "x.pth")["state_dict"]["w"].tolist() == [0, 1, 2]


def test_an_older_format_that_is_damaged_is_refused_by_name(tmp_path):
    """It has no checksums; what its unpickler stumbles over was an UnicodeDecodeError or an AssertionError."""
    torch.save(dict(w=torch.ones(3)), path := tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    for position in range(0, path.stat().st_size, 7):
        try:
            read_checkpoint(flipped(path, position))
        except ValueError as error:
            assert "flipped.pth: " in str(error)


def test_torn_checkpoint_is_skipped_and_named(tmp_path, caplog):
    for step in (2, 4, 10):
        write(tmp_path / f"iter_{step}.pth", step)
    torn = tmp_path / "iter_10.pth"
    torn.write_bytes(torn.read_bytes()[:-200])
    (tmp_path / "last_checkpoint").write_text("/somewhere/else/iter_10.pth")
    assert [p.name for p in latest_checkpoints(tmp_path)] == ["iter_10.pth", "iter_4.pth", "iter_2.pth"]
    with caplog.at_level(logging.WARNING):
        assert find_resumable(tmp_path).name == "iter_4.pth"


@pytest.mark.parametrize(
    ("place", "byte"),
    [
        (0, 0),  # of the signature: zipfile raised BadZipFile, and the resume ended with a traceback
        (46, 0xFF),  # of the first name: UnicodeDecodeError without the file's name
    ],
)
def test_damaged_zip_directory_is_skipped(tmp_path, place, byte):
    for step in (2, 4):
        write(tmp_path / f"iter_{step}.pth", step)
    damaged = tmp_path / "iter_4.pth"
    content = bytearray(damaged.read_bytes())
    content[content.index(b"PK\x01\x02") + place] = byte
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"iter_4\.pth: is damaged"):
        read_checkpoint(damaged)
    assert find_resumable(tmp_path).name == "iter_2.pth"


def test_any_flipped_bit_is_read_or_refused_by_name(tmp_path):
    """Of one bit flipped, at 300 places: whatever torch and zipfile raise becomes a ValueError that names the file."""
    write(tmp_path / "iter_2.pth", 2)
    content, places = (tmp_path / "iter_2.pth").read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in places.integers(0, len(content), 300):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(places.integers(8))
        (tmp_path / "flipped.pth").write_bytes(flipped)
        try:
            read_checkpoint(tmp_path / "flipped.pth")
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{tmp_path}/flipped.pth: ")
    assert refused > 30


def test_last_checkpoint_outranks_an_older_run_with_higher_numbers(tmp_path):
    write(tmp_path / "iter_9000.pth", 9000)
    write(tmp_path / "iter_4.pth", 4)
    (tmp_path / "last_checkpoint").write_text("iter_4.pth")
    assert find_resumable(tmp_path).name == "iter_4.pth"
    (tmp_path / "last_checkpoint").write_text("")  # torn: mmengine does not write it atomically
    assert find_resumable(tmp_path).name == "iter_9000.pth"


def test_nothing_to_resume_is_an_error_with_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="--load-from"):
        find_resumable(tmp_path)


def test_load_strict_lists_what_does_not_fit():
    model, state = ToyModel(), ToyModel().state_dict()
    state["classifier.weight"] = torch.zeros(5, 4, 1, 1)
    del state["backbone.norm.bias"]
    state["decode_head.x"] = torch.zeros(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_strict(model, state, "w.pth")
    for part in (
        "w.pth",
        "missing (1): backbone.norm.bias",
        "unexpected (1): decode_head.x",
        "other shape (1): classifier.weight (5, 4, 1, 1) in the file, (2, 4, 1, 1) in the model",
        "mmsegmentation",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_load_strict_strips_module_and_needs_no_batch_counter():
    source, model = ToyModel(), ToyModel()
    state = {f"module.{k}": v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert load_strict(model, state, "w.pth") == []
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_atomic_backend_removes_after_the_next_write(tmp_path):
    backend = AtomicBackend()
    backend.put(b"one", tmp_path / "1.pth")
    backend.remove(tmp_path / "1.pth")
    assert (tmp_path / "1.pth").exists()
    backend.put(b"two", tmp_path / "2.pth")
    assert [p.name for p in tmp_path.iterdir()] == ["2.pth"]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    backend = AtomicBackend()
    backend.put(b"old", tmp_path / "1.pth")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        backend.put(b"new", tmp_path / "1.pth")
    assert (tmp_path / "1.pth").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_plain_and_dotted_names():
    value = {"a": (np.float32(1), np.arange(2)), "b": [np.int64(3), {1}], "dtype": torch.float16, "type": nn.Conv2d}
    assert plain(value, "x") == {"a": (1.0, [0, 1]), "b": [3, [1]], "dtype": "torch.float16", "type": "torch.nn.Conv2d"}
    assert plain(object(), "x") is None
    assert dotted_name(ToyModel) == "toy.ToyModel"
