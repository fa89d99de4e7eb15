"""The linear head of segmentation: its formula, its training, its schedule."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from amt_mm.evaluation.segmentation_head import SegmentationHead, train_segmentation


def toy(images=9, grid=(3, 2), width=5, scale=4):
    """Tokens whose first two values say the class of the patch, and masks of 3 classes."""
    chance = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (images, *grid), generator=chance)
    tokens = torch.randn(images, math.prod(grid), width, generator=chance) * .3
    tokens[..., :3] += F.one_hot(classes.flatten(1), 3) * 4
    masks = classes.repeat_interleave(scale, 1).repeat_interleave(scale, 2).to(torch.uint8)
    masks[torch.rand(masks.shape, generator=chance) < .1] = 255
    return tokens.half(), masks


def test_it_is_a_batch_norm_and_a_convolution_of_one_pixel():
    head = SegmentationHead(5, 4, (3, 2)).train()
    tokens = torch.randn(7, 6, 5)
    with torch.no_grad():
        head.norm.weight.uniform_()
        head.norm.bias.normal_()
    norm, convolution = nn.BatchNorm2d(5), nn.Conv2d(5, 4, 1)
    norm.load_state_dict(head.norm.state_dict())
    convolution.load_state_dict({name: value[..., None, None] if value.ndim == 2 else value
                                 for name, value in head.classify.state_dict().items()})
    image = torch.stack([torch.stack([tokens[:, 2 * row + column] for column in range(2)], -1)
                         for row in range(3)], -2)  # (7, 5, 3, 2)
    for mode in (True, False):
        head.train(mode), norm.train(mode)
        torch.testing.assert_close(head(tokens), convolution(norm(image)))


def test_training_is_adamw_on_the_pixels_that_have_a_label():
    """Written slowly: all images in every batch, a pixel at a time."""
    tokens, masks = toy(images=3)
    found = train_segmentation(tokens, masks, 3, (3, 2), iterations=8, lr=.01, weight_decay=.1)
    slow = SegmentationHead(5, 3, (3, 2))
    optimiser = torch.optim.AdamW(slow.parameters(), weight_decay=.1)
    for step in range(8):
        # One step of warm-up (3.75 % of 8, at least one), then down to 1 / 7 of the peak.
        optimiser.param_groups[0]['lr'] = .01 * (1 if step == 0 else (8 - step) / 7)
        logits = F.interpolate(slow(tokens.float()), (12, 8), mode='bilinear')
        losses = [-logits[i, :, row, column].log_softmax(0)[masks[i, row, column].long()]
                  for i in range(3) for row in range(12) for column in range(8)
                  if masks[i, row, column] != 255]
        optimiser.zero_grad()
        torch.stack(losses).mean().backward()
        optimiser.step()
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, atol=1e-4, rtol=1e-3)


def test_it_learns_in_batches_and_depends_on_the_seed_alone():
    tokens, masks = toy(images=21)
    heads = [train_segmentation(tokens, masks, 3, (3, 2), 60, batch_size=4, lr=.03, seed=seed)
             for seed in (1, 1, 2)]
    states = [torch.cat([value.flatten() for value in head.state_dict().values()])
              for head in heads]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    assert not heads[0].training
    with torch.no_grad():
        found = heads[0](tokens.float()).argmax(dim=1)
    wanted = masks[:, ::4, ::4]
    assert (found == wanted)[wanted != 255].float().mean() > .95


def test_masks_without_a_label_teach_nothing():
    tokens, masks = toy()
    head = train_segmentation(tokens, torch.full_like(masks, 255), 3, (3, 2), 3, weight_decay=0)
    assert torch.equal(head.classify.weight, SegmentationHead(5, 3, (3, 2)).classify.weight)
