"""Losses of DINO and iBOT against loops over their formulas."""

import math

import pytest
import torch

from amt_mm.masking import TokenMask
from amt_mm.models.distillation_loss import Center, crop_loss, patch_loss


def entropy_of(target, logits, temperature):
    scaled = [z / temperature for z in logits]
    norm = math.log(sum(math.exp(z) for z in scaled))
    return -sum(p * (z - norm) for p, z in zip(target, scaled, strict=True))


@pytest.mark.parametrize(('num_global', 'num_local', 'batch'), [(2, 3, 4), (2, 0, 1), (3, 1, 2)])
def test_each_student_crop_is_compared_with_each_other_global_crop(num_global, num_local, batch):
    teacher = torch.rand(num_global, batch, 7).softmax(-1)
    student = [torch.randn(batch, 7) for _ in range(num_global + num_local)]
    pairs = [(q, v) for q in range(num_global) for v in range(len(student)) if v != q]
    assert len(pairs) == num_global * (num_global + num_local - 1)
    wanted = sum(entropy_of(teacher[q, b].tolist(), student[v][b].tolist(), .1)
                 for q, v in pairs for b in range(batch)) / (len(pairs) * batch)
    assert crop_loss(teacher, student).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize('counts', [[3, 0, 5], [0, 0, 0], [6, 1, 1]])
def test_unmasked_crops_count_in_the_mean_of_the_patch_loss(counts):
    mask = TokenMask.from_order(torch.rand(3, 6).argsort(1), torch.tensor(counts), (2, 3))
    teacher, student = torch.rand(3, 6, 7).softmax(-1), torch.randn(3, 6, 7, requires_grad=True)
    loss = patch_loss(mask.take(teacher), mask.take(student), mask.loss_weights())
    wanted = 0.0
    for image, states in enumerate(mask.states().tolist()):
        each = [entropy_of(teacher[image, j].tolist(), student[image, j].tolist(), .1)
                for j, masked in enumerate(states) if masked]
        wanted += sum(each) / max(len(each), 1) / 3
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    loss.backward()
    assert torch.equal(student.grad.abs().sum(-1) > 0, mask.states())


def test_center_is_a_running_mean_over_batches():
    center, wanted = Center(5), [0.0] * 5
    for _ in range(4):
        logits = torch.randn(3, 2, 5)
        center.update(logits.mean(dim=(0, 1)))
        for k in range(5):
            mean = sum(logits[b, n, k].item() for b in range(3) for n in range(2)) / 6
            wanted[k] = .9 * wanted[k] + .1 * mean
    assert center.mean.tolist() == pytest.approx(wanted, abs=1e-6)


def test_teacher_is_centered_before_sharpening():
    center = Center(4)
    center.mean.copy_(torch.tensor([.5, -1., 0., 2.]))
    logits = torch.randn(4)
    powers = [math.exp((z - c) / .04) for z, c in zip(logits.tolist(), center.mean.tolist(),
                                                      strict=True)]
    assert center.sharpen(logits, .04).tolist() == pytest.approx(
        [p / sum(powers) for p in powers], rel=1e-4, abs=1e-9)
