"""One network of each of torchvision's families, which no one here wrote; docs/coverage.md has them all."""

import numpy as np
import pytest
import torch
from benchmarks.coverage import examine
from torchvision import models

from hamp.pruning import discover

FAMILIES = [
    "alexnet", "resnet18", "resnext50_32x4d", "densenet121", "googlenet", "inception_v3", "mobilenet_v2",
    "mobilenet_v3_small", "mnasnet0_5", "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "shufflenet_v2_x0_5",
    "squeezenet1_1", "convnext_tiny", "lraspp_mobilenet_v3_large", "fasterrcnn_resnet50_fpn.backbone",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_random_widths_are_exact_and_most_channels_can_go(name):
    row = examine(name, np.random.default_rng(1))
    assert row.difference <= 1e-9
    assert row.prunable >= (0.7 if name.startswith("squeezenet") else 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_b_16", "swin_t"])
def test_of_transformers_the_widths_of_the_mlps_are_offered(name):
    space = discover(models.get_model(name, weights=None).eval(), torch.zeros(2, 3, 224, 224))
    assert sum(".mlp." in layer for layer in space.names) == 12
