"""Windows are taken where the whole image would not fit, and the estimate is what a process really takes."""

import subprocess
import sys

import pytest
import torch

from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Segmentor, memory
from xseg.models.inference import Inference

PEAK = """
import re, torch
from backbones import AlignedXception
from heads import DeepLabV3Plus
from xseg.models import Segmentor
from xseg.models.memory import bytes_needed
torch.set_num_threads(1)
size = 768
head = dict(type=DeepLabV3Plus, num_classes=19)
model = Segmentor(dict(type=AlignedXception, depth=41, output_stride=16), head, channels_last=True)
model.predict(torch.zeros(3, 64, 64, dtype=torch.uint8))
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
model.predict(torch.zeros(3, size, size, dtype=torch.uint8))
print(peak() - before, bytes_needed(model, model.inference, 1, (size, size)))
"""


def network(**inference) -> Segmentor:
    torch.manual_seed(0)
    head = dict(type=DeepLabV3Plus, num_classes=3, channels=16, low_channels=8)
    return Segmentor(dict(type=AlignedXception, depth=41, width=0.125), head, inference=Inference(**inference)).eval()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_estimate_is_what_a_process_takes():
    """Between 0.8 and 1.6 times the growth of resident memory."""
    command = [sys.executable, "-c", PEAK]
    taken, estimate = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert 0.8 * taken <= estimate <= 1.6 * taken


def test_windows_are_taken_and_said_when_memory_is_short(monkeypatch, caplog):
    model = network()
    image = torch.randint(0, 256, (3, 1400, 520), dtype=torch.uint8)
    whole = model.predict(image).mask
    monkeypatch.setattr(memory, "bytes_per_pixel", lambda model: 1000)  # of a wider network
    needed = [
        memory.bytes_needed(model, inference, 1, (600, 700)) for inference in (Inference(), Inference((512, 512)))
    ]
    assert needed[1] < needed[0]
    monkeypatch.setattr(memory, "free_memory", lambda device: sum(needed) / 2 / memory.SHARE)
    said = []
    monkeypatch.setattr(memory, "print_log", lambda text, **_: said.append(text))
    masks = model.predict(image).mask
    assert len(said) == 1 and "1400 x 520 pixels" in said[0] and "windows of 512 x 512" in said[0]
    assert (masks == network(window_hw=(512, 512)).predict(image).mask).all()
    assert model.inference == Inference()
    monkeypatch.undo()
    assert (model.predict(image).mask == whole).all()


def test_windows_of_ones_own_are_kept(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 1.0)
    model = network(window_hw=(100, 100))
    assert memory.fitting(model, torch.zeros(1, 3, 600, 700)) is model.inference
