"""IBOT against its formulas: losses, centers and masks, computed crop by crop."""

import copy
import math
from pathlib import Path

import pytest
import torch
from load_script import load_script
from mmpretrain.registry import MODELS
from torch.nn import functional as F
from torchrun import in_two_real_processes

from amt_mm.errors import InputError
from amt_mm.masking import TokenMask
from amt_mm.models.distillation_loss import crop_loss
from amt_mm.saliency import cls_attention

ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
CROP, LOCAL, PATCH, GRID = (40, 56), (24, 16), 8, (5, 7)


def config(**changes):
    return copy.deepcopy({**dict(
        type='amt_mm.IBOT',
        backbone=dict(type='amt_mm.IBOTViT', img_size=CROP, patch_size=PATCH, arch=ARCH),
        head=dict(type='amt_mm.DistillationHead', out_channels=19, hidden_channels=16,
                  bottleneck_channels=8),
        masking=dict(type='amt_mm.CropMasking', strategy='high'),
        data_preprocessor=dict(type='SelfSupDataPreprocessor')), **changes})


def build(seed=0, **changes):
    torch.manual_seed(seed)
    model = MODELS.build(config(**changes))
    model.init_weights()
    # All weights random, and the teacher different from the student, to hide no error.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
        for center in (model.cls_center, model.patch_center):
            center.mean.copy_(torch.randn(19) * .1)
    return model.train()


def views(batch=3, num_local=2):
    return [*torch.randn(2, batch, 3, *CROP), *torch.randn(num_local, batch, 3, *LOCAL)]


class Fixed:
    """A masking with fixed counts that records weights and mask."""

    needs_weights = True

    def __init__(self, counts):
        self.counts = torch.tensor(counts)

    def __call__(self, batch_size, grid, weights, device):
        self.weights = weights
        order = weights.argsort(dim=1, descending=True)
        self.mask = TokenMask.from_order(order, self.counts, grid)
        return self.mask


def logits_of(head, token):
    """Apply the head to one token by its formula."""
    for layer in (head.mlp[0], head.mlp[2]):
        token = F.gelu(layer.weight @ token + layer.bias)
    token = head.mlp[4].weight @ token + head.mlp[4].bias
    token = token / token.pow(2).sum().sqrt()
    rows = head.last_layer.parametrizations.weight.original1
    rows = rows / rows.pow(2).sum(dim=1, keepdim=True).sqrt()
    return head.gain * rows @ token[:, None]


def encode_slowly(vit, image, masked=()):
    """Encode one crop: mask tokens, then [CLS], then position embeddings."""
    weight, bias = vit.patch_embed.projection.weight, vit.patch_embed.projection.bias
    rows, columns = image.shape[1] // PATCH, image.shape[2] // PATCH
    tokens = []
    for index in range(rows * columns):
        top, left = index // columns * PATCH, index % columns * PATCH
        patch = image[:, top:top + PATCH, left:left + PATCH]
        token = (weight * patch).sum(dim=(1, 2, 3)) + bias
        tokens.append(vit.mask_token[0, 0] if index in masked else token)
    positions = vit.pos_embed[0, 1:].T.reshape(1, -1, *GRID)
    if (rows, columns) != GRID:
        positions = F.interpolate(positions, (rows, columns), mode='bicubic', align_corners=False)
    positions = positions.flatten(2)[0].T
    tokens = torch.stack([vit.cls_token[0, 0] + vit.pos_embed[0, 0],
                          *(torch.stack(tokens) + positions)])[None]
    for layer in vit.layers:
        tokens = layer(tokens)
    return vit.ln1(tokens)[0]


@pytest.mark.parametrize(('batch', 'num_local', 'counts'), [
    (2, 2, [4, 0, 17, 1]), (1, 1, [0, 0]), (1, 0, [35, 2])])
def test_losses_and_centers_equal_the_papers(batch, num_local, counts):
    model = build()
    model.masking = Fixed(counts)
    model.teacher_temperature.fill_(.05)
    inputs = views(batch, num_local)
    before = model.cls_center.mean.clone(), model.patch_center.mean.clone()
    with torch.no_grad():
        losses = model.loss(inputs)
        states = model.masking.mask.states()

        def logits(part, images, masks):
            return [torch.stack([logits_of(part['head'], token)[:, 0] for token in encode_slowly(
                part['backbone'], image, mask)]) for image, mask in zip(images, masks, strict=True)]

        student = {'backbone': model.backbone, 'head': model.head}
        whole = [image for view in inputs[:2] for image in view]  # (G B)
        nothing = [()] * len(whole)
        masks = [row.nonzero().flatten().tolist() for row in states]
        taught = logits(model.teacher, whole, nothing)
        learnt = logits(student, whole, masks)
        local = [logits(student, view, [()] * batch) for view in inputs[2:]]

        def probabilities(z, center):
            return ((z - center) / .05).softmax(-1)

        total, terms = 0.0, 0
        for q in range(2):
            for v in range(2 + num_local):
                if v == q:
                    continue
                for b in range(batch):
                    z = learnt[v * batch + b] if v < 2 else local[v - 2][b]
                    total -= (probabilities(taught[q * batch + b][0], before[0])
                              * (z[0] / .1).log_softmax(-1)).sum()
                    terms += 1
        assert losses['loss_cls'].item() == pytest.approx((total / terms).item(), rel=1e-4)
        total = 0.0
        for crop, mask in enumerate(masks):
            each = [-(probabilities(taught[crop][1 + j], before[1])
                      * (learnt[crop][1 + j] / .1).log_softmax(-1)).sum() for j in mask]
            total += sum(each) / max(len(each), 1)
        assert float(losses['loss_patch']) == pytest.approx(float(total) / len(masks), rel=1e-4)
        means = [torch.stack([z[0] for z in taught]).mean(0),
                 torch.stack([z[1:].mean(0) for z in taught]).mean(0)]
        for center, old, mean in zip((model.cls_center, model.patch_center), before, means,
                                     strict=True):
            assert torch.allclose(center.mean, .9 * old + .1 * mean, atol=1e-5)


def keys_kernel(x, a=-.75):
    """Cubic convolution (Keys, 1981), with torch's parameter."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.


def resized(values, size, scale):
    """``(h, w)`` at ``size`` points that lie ``1 / scale`` apart, the first half of that inside."""
    def along(axis):
        weights = torch.zeros(size[axis], values.shape[axis])
        for i in range(size[axis]):
            x = (i + .5) / scale[axis] - .5
            for near in range(math.floor(x) - 1, math.floor(x) + 3):
                weights[i, min(max(near, 0), values.shape[axis] - 1)] += keys_kernel(x - near)
        return weights

    return along(0) @ values @ along(1).T


@pytest.mark.parametrize('offset', [0, .1])
@pytest.mark.parametrize('grid', [(3, 2), (6, 9)])
def test_positions_of_local_crops_are_interpolated(grid, offset):
    backbone = dict(config()['backbone'], interpolate_offset=offset)
    vit = build(backbone=backbone).backbone
    found = vit.positions(grid)[0].detach()
    scale = [(side + offset) / own for side, own in zip(grid, GRID, strict=True)]
    wanted = [resized(each, grid, scale).flatten()
              for each in vit.pos_embed[0, 1:].detach().T.unflatten(1, GRID)]
    torch.testing.assert_close(found[1:], torch.stack(wanted, dim=1), rtol=0, atol=1e-5)
    assert torch.equal(found[0], vit.pos_embed[0, 0])
    # The grid of global crops keeps its positions, whatever the offset.
    assert torch.equal(vit.positions(GRID), vit.pos_embed)
    images = torch.randn(1, 3, *(side * PATCH for side in grid))
    vit.eval()
    before = vit.encode(images)
    vit.interpolate_offset = .1 - offset
    assert not torch.allclose(vit.encode(images), before, atol=1e-4)


@pytest.mark.parametrize('offset', [-.1, 1, '0.1', True])
def test_an_impossible_offset_is_refused(offset):
    with pytest.raises(InputError, match='interpolate_offset='):
        build(backbone=dict(config()['backbone'], interpolate_offset=offset))


def test_masks_use_the_teachers_attention_on_whole_crops():
    model = build()
    model.masking = Fixed([5] * 6)
    inputs = views()
    model.loss(inputs)
    wanted = cls_attention(model.teacher.backbone, torch.cat(inputs[:2])).mean(dim=1)
    assert torch.allclose(model.masking.weights, wanted)
    assert not torch.allclose(
        wanted, cls_attention(model.backbone, torch.cat(inputs[:2])).mean(dim=1))


def test_gradients_reach_only_the_student():
    model = build()
    sum(model.loss(views()).values()).backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    missing = [name for name, p in model.named_parameters()
               if p.requires_grad and p.grad is None]
    assert not missing


def test_all_parameters_have_gradients_without_masked_tokens():
    """Otherwise distributed training would wait for missing gradients."""
    model = build(masking=dict(type='amt_mm.CropMasking', strategy='high', gate=0))
    losses = model.loss(views())
    assert losses['loss_patch'] == 0
    sum(losses.values()).backward()
    assert model.backbone.mask_token.grad is not None


def test_equals_dino_without_patch_loss():
    model, dino = build(), build(patch_weight=0)
    dino.load_state_dict(model.state_dict())
    inputs = views()
    for each in (model, dino):
        each.masking = Fixed([9] * 6)
    both, cls = model.loss(inputs), dino.loss(inputs)
    assert list(cls) == ['loss_cls'] and torch.allclose(both['loss_cls'], cls['loss_cls'])
    # Plain DINO masks nothing.
    plain = build(patch_weight=0, masking=None)
    plain.load_state_dict(model.state_dict())
    logits = [plain.head(plain.backbone(view)[0][:, 0]) for view in inputs]
    taught = torch.stack([plain.teacher.head(plain.teacher.backbone(view)[0][:, 0])
                          for view in inputs[:2]])
    wanted = crop_loss(plain.cls_center.sharpen(taught, plain.teacher_temperature), logits)
    assert torch.allclose(plain.loss(inputs)['loss_cls'], wanted, rtol=1e-4)


def test_teacher_is_initialised_as_the_student_and_has_no_drop_path():
    model = MODELS.build(config(backbone=dict(
        type='amt_mm.IBOTViT', img_size=CROP, patch_size=PATCH, arch=ARCH, drop_path_rate=.5)))
    model.init_weights()
    for name in ('backbone', 'head'):
        own, taught = getattr(model, name).state_dict(), model.teacher[name].state_dict()
        assert own.keys() == taught.keys() and all(torch.equal(own[k], taught[k]) for k in own)
    assert not model.backbone.mask_token.any() and (model.head.gain == 1).all()
    model.train()
    images = torch.randn(2, 3, *CROP)
    assert torch.equal(model.teacher.backbone(images)[0], model.teacher.backbone(images)[0])
    assert not torch.equal(model.backbone(images)[0], model.backbone(images)[0])


def test_gain_can_be_frozen():
    head = MODELS.build(dict(type='amt_mm.DistillationHead', in_channels=4, train_gain=False))
    assert not head.gain.requires_grad


@pytest.mark.parametrize('wrong', [dict(masking=None), dict(head=dict(
    type='amt_mm.DistillationHead', in_channels=5))])
def test_contradictory_configs_are_rejected(wrong):
    with pytest.raises(InputError):
        MODELS.build(config(**wrong))


@pytest.mark.parametrize(('wrong', 'found'), [
    (lambda: views()[0], 1), (lambda: views()[:1], 1), (lambda: views()[:2], 2)])
def test_too_few_views_are_refused(wrong, found):
    with pytest.raises(InputError, match=f'3 views .* gets {found}: use MultiView'):
        build(num_global=3).loss(wrong())


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_global_batch(tmp_path):
    """Averaged gradients, centers over all crops; fp64, so that rounding hides no error."""
    script = Path(__file__).parent / 'two_processes_ibot.py'
    in_two_real_processes(script, tmp_path)
    module = load_script(script)
    one = module.train(0, 1)
    start = MODELS.build(module.MODEL).state_dict()
    for rank in (0, 1):
        two = torch.load(tmp_path / f'rank{rank}.pt')
        assert two.keys() == one.keys() == start.keys()
        for name, value in one.items():
            # Weights of the patch loss are fp32.
            assert torch.allclose(two[name], value, rtol=0, atol=1e-8), name
    assert one['cls_center.mean'].abs().max() > 1e-4
