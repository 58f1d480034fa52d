import json

import numpy as np
import pytest
from bundle import write_bundle
from peers import reference, reference_weight

from xseg.weights.tf_checkpoint import crc32c, read_tf_checkpoint

ARRAYS = {
    "net/a/weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "net/a/biases": np.zeros(0, np.float32),
    "net/b": np.float64(2.5).reshape(()),
    "net/half": np.arange(3, dtype=np.float16),
    "global_step": np.array(30000, np.int64),
    **{f"net/long/name/{k:04d}": np.full(5, k, np.int32) for k in range(300)},
}


def crc_by_bit(data: bytes) -> int:
    """CRC-32C as its definition: one bit at a time, reflected polynomial 0x82F63B78."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 64, 1000, 4097])
def test_crc32c(size):
    data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    assert crc32c(data) == crc_by_bit(data.tobytes())


def test_crc32c_of_the_standard():
    """RFC 3720, B.4: the digits 1 to 9, and 32 zero bytes."""
    assert crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283
    assert crc32c(np.zeros(32, np.uint8)) == 0x8A9136AA


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001"])
def test_reads_what_was_written(tmp_path, num_shards, ending):
    write_bundle(tmp_path / "model.ckpt-30000", ARRAYS, num_shards)
    found = read_tf_checkpoint(tmp_path / f"model.ckpt-30000{ending}")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path, monkeypatch):
    monkeypatch.setattr("bundle.NUMBERS", {np.dtype(np.uint16): 14})
    write_bundle(tmp_path / "m", {"x": np.array([0x3F80, 0xC040], np.uint16)})
    np.testing.assert_array_equal(read_tf_checkpoint(tmp_path / "m")["x"], np.array([1, -3], np.float32))


def test_tensorflow_reads_the_same(tmp_path):
    tf = pytest.importorskip("tensorflow", reason="judges our reader and the writer of these tests")
    write_bundle(tmp_path / "m", ARRAYS, num_shards=2)
    judge = tf.train.load_checkpoint(str(tmp_path / "m"))
    assert set(judge.get_variable_to_shape_map()) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(judge.get_tensor(name), array)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, array in ARRAYS.items():
            tf.compat.v1.get_variable(name, initializer=array)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(tmp_path / "theirs"), write_meta_graph=False)
    found = read_tf_checkpoint(tmp_path / "theirs")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_every_flipped_bit_is_noticed(tmp_path):
    write_bundle(tmp_path / "m", {"x": np.arange(8, dtype=np.float32), "y": np.ones(3, np.float32)})
    for name in ("m.index", "m.data-00000-of-00001"):
        whole = (tmp_path / name).read_bytes()
        for position in range(0, len(whole), 3):
            if name == "m.index" and len(whole) - 48 <= position < len(whole) - 8 and whole[position] == 0:
                continue  # padding of the footer, which holds nothing
            damaged = bytearray(whole)
            damaged[position] ^= 0x10
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(ValueError, match=r"damaged|cut off|compressed|not the index|big-endian"):
                read_tf_checkpoint(tmp_path / "m")
        (tmp_path / name).write_bytes(whole)


def test_a_cut_off_or_missing_file_is_named(tmp_path):
    write_bundle(tmp_path / "m", ARRAYS, num_shards=2)
    shard = tmp_path / "m.data-00001-of-00002"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-7])
    with pytest.raises(ValueError, match=r"m\.data-00001-of-00002: is cut off"):
        read_tf_checkpoint(tmp_path / "m")
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"shard m\.data-00001-of-00002 is missing beside m\.index"):
        read_tf_checkpoint(tmp_path / "m")
    index = tmp_path / "m.index"
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not the index of a TensorFlow checkpoint, or is cut off"):
        read_tf_checkpoint(tmp_path / "m")


def test_all_variables_of_the_reference_program_survive(tmp_path):
    shapes = json.loads(reference("tf_deeplab", "xception_65_variables.json").read_text())
    arrays = {name: reference_weight(name, shape, 3) for name, shape in shapes.items() if "middle_flow" not in name}
    write_bundle(tmp_path / "m", arrays)
    found = read_tf_checkpoint(tmp_path / "m")
    assert all((found[name] == array).all() for name, array in arrays.items())
