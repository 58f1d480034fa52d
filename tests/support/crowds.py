"""Random images full of small boxes, for tests of NMS."""

import torch

SIZE_HW = (800, 1333)


def crowded(seed: int, num_boxes: int, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Distinct scores (num_boxes, num_classes), one or two classes per box, and small boxes in clusters."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(num_boxes // 8 + 1, 2, generator=generator) * torch.tensor(SIZE_HW[::-1])
    sizes = 1 + 15 * torch.rand(len(centres), 2, generator=generator)
    owner = torch.randint(len(centres), (num_boxes,), generator=generator)
    jitter = torch.randn(num_boxes, 4, generator=generator) * 0.15
    middle, size = centres[owner] + jitter[:, :2] * sizes[owner], sizes[owner] * (1 + jitter[:, 2:])
    scores = torch.zeros(num_boxes, num_classes)
    labels = torch.randint(num_classes, (num_boxes, 2), generator=generator)
    ranks = torch.randperm(2 * num_boxes, generator=generator).view(num_boxes, 2)
    scores.scatter_(1, labels, 0.1 + 0.4 * ranks / num_boxes)
    return scores, torch.cat([middle - size / 2, middle + size / 2], 1)
