"""Reading Keras' .h5: a stranger's file may be malformed, and libhdf5 does not survive each of them."""

import h5py
import numpy as np
import pytest

from xseg.weights import keras_h5
from xseg.weights.files import read_tensors


def write(path, **arrays) -> None:
    """One layer as Keras writes it, its arrays in this order."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1"]
        layer = file.create_group("block1_conv1")
        layer.attrs["weight_names"] = [name.encode() for name in arrays]
        for name, array in arrays.items():
            layer[name] = array


def test_values_come_back_bit_by_bit(tmp_path):
    kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 4)).astype(np.float32)
    write(tmp_path / "x.h5", kernel=kernel)
    tensors, meta = read_tensors(tmp_path / "x.h5")
    assert list(tensors) == ["block1_conv1/kernel"] and meta == {}
    np.testing.assert_array_equal(tensors["block1_conv1/kernel"].numpy(), kernel)


@pytest.mark.parametrize("signal", [11, 6])
def test_a_crash_of_libhdf5_is_an_error_and_not_the_end(tmp_path, monkeypatch, signal):
    """It took the whole process along."""
    write(tmp_path / "x.h5", kernel=np.zeros((3, 3, 3, 4), np.float32))
    (tmp_path / "h5py.py").write_text(f"import os\n\ndef File(*args):\n    os.kill(os.getpid(), {signal})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ValueError, match=rf"x\.h5: is damaged: libhdf5 crashed on it \(exit code -{signal}\)"):
        read_tensors(tmp_path / "x.h5")


def test_a_file_that_keeps_libhdf5_busy_is_given_up(tmp_path, monkeypatch):
    write(tmp_path / "x.h5", kernel=np.zeros((3, 3, 3, 4), np.float32))
    (tmp_path / "h5py.py").write_text("import time\n\ndef File(*args):\n    time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(keras_h5, "TIMEOUT", 1)
    with pytest.raises(ValueError, match=r"x\.h5: is damaged: libhdf5 did not read it within 1 seconds"):
        read_tensors(tmp_path / "x.h5")


def test_arrays_that_the_file_cannot_hold_are_not_allocated(tmp_path):
    """36 TB of zeros that were never written, in a file of 2 KB."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1"]
        layer = file.create_group("block1_conv1")
        layer.attrs["weight_names"] = [b"kernel"]
        layer.create_dataset("kernel", (3, 3, 10**6, 10**6), "f4")
    with pytest.raises(ValueError, match=r"x\.h5: layer block1_conv1 claims \(3, 3, 1000000, 1000000\), more than"):
        read_tensors(tmp_path / "x.h5")


@pytest.mark.parametrize(
    "arrays, message",
    [
        (
            dict(kernel=np.zeros(3, np.float32)),
            r"block1_conv1 has shapes \[\(3,\)\], which no layer of Xception has",
        ),
        (dict(kernel=np.zeros((1, 1, 1, 1), "S3")), "but weights are floating-point"),
        (dict(kernel=np.zeros((1, 1, 1, 1), np.int64)), "but weights are floating-point"),
    ],
)
def test_what_is_no_layer_of_xception_is_named(tmp_path, arrays, message):
    write(tmp_path / "x.h5", **arrays)
    with pytest.raises(ValueError, match=message):
        read_tensors(tmp_path / "x.h5")


def test_cut_files_are_refused_by_name(tmp_path):
    write(tmp_path / "x.h5", kernel=np.zeros((3, 3, 3, 4), np.float32))
    content = (tmp_path / "x.h5").read_bytes()
    for share in (0.1, 0.4, 0.7, 0.95):
        (tmp_path / "cut.h5").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"cut\.h5: is damaged or not an HDF5 file \(.*\); fetch it again"):
            read_tensors(tmp_path / "cut.h5")
