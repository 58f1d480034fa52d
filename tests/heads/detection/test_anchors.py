import torch

from heads.detection.anchors import BETWEEN, NEGATIVE, match


def test_matching_on_paper():
    """Anchors against one object of 10 x 10: itself, half of it (IoU 0.5), 0.45 of it, nothing; and a second object
    far from all whose best anchor, at IoU 0.1, finds it in any case."""
    objects = torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 110]])
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4.5], [50, 50, 60, 60], [100, 100, 110, 101]])
    assert match(objects, anchors, 0.5, 0.4).tolist() == [0, 0, BETWEEN, NEGATIVE, 1]
    assert match(torch.zeros(0, 4), anchors, 0.5, 0.4).tolist() == [NEGATIVE] * 5
