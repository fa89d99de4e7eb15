"""Masked images: painted pixel by pixel, ranked by attention computed by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from labelled_toys import LabelledImages
from mmpretrain.registry import MODELS

from amt_mm.errors import InputError
from amt_mm.evaluation import masked_accuracy
from amt_mm.evaluation.dataset_features import loader_in_order
from amt_mm.evaluation.masked_accuracy import masked_accuracies

LABELS = [i * 3 % 7 for i in range(11)]
RATIOS = [0, .1, .29, .5, 1]
MEAN, STD = [120.0, 110, 100], [60.0, 50, 40]


@pytest.fixture(params=[dict(type='VisionTransformer', out_type='cls_token'),
                        dict(type='amt_mm.LastBlocksViT', last_blocks=2)],
                ids=['last', 'last2'])
def model(request):
    torch.manual_seed(3)
    model = MODELS.build(dict(
        type='amt_mm.ViTClassifier', frozen=True,
        backbone=dict(img_size=(40, 56), patch_size=8, **request.param, arch=dict(
            embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)),
        head=dict(type='LinearClsHead', num_classes=7, loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(type='ClsDataPreprocessor', mean=MEAN, std=STD, num_classes=7)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    return model.train()


def attention(vit, image):
    """[CLS] row of the last block, mean over heads, from the definition."""
    kept = {}
    handle = vit.layers[-1].attn.register_forward_pre_hook(lambda _, args: kept.update(x=args[0]))
    vit(image[None])
    handle.remove()
    attn, x = vit.layers[-1].attn, kept['x'][0]
    q, k, _ = (x @ attn.qkv.weight.T + attn.qkv.bias).chunk(3, dim=-1)
    rows = []
    for head in range(3):
        part = slice(8 * head, 8 * head + 8)
        rows.append((k[:, part] @ q[0, part] / math.sqrt(8)).softmax(0)[1:])
    return torch.stack(rows).mean(0)


@torch.no_grad()
def oracle(model, dataset, order, ratio):
    """Logits of images painted pixel by pixel, ``(n, 7)``."""
    model.eval()
    logits = []
    for i in range(len(dataset)):
        raw = dataset[i]['inputs'].float()  # (3, 40, 56), 5 x 7 patches
        mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        scores = attention(model.backbone, (raw - mean) / std).tolist()
        places = sorted(range(35), key=scores.__getitem__)
        if order == 'high':
            places.reverse()
        if order == 'random':
            places = np.random.default_rng([5, i]).permutation(35)
        for place in places[:int(str(ratio * 35).partition('.')[0])]:
            for y in range(8):
                for x in range(8):
                    raw[:, place // 7 * 8 + y, place % 7 * 8 + x] = 0
        logits.append(model(((raw - mean) / std)[None])[0])
    return torch.stack(logits)


@pytest.mark.slow
def test_it_agrees_with_painting_pixel_by_pixel(model):
    dataset, seen = LabelledImages(LABELS), []
    handle = model.head.register_forward_hook(lambda _, args, logits: seen.append(logits))
    found = masked_accuracies(model, loader_in_order(dataset, 4), RATIOS, seed=5)
    handle.remove()
    assert model.head.training and not model.backbone.training  # left as they were
    assert list(found) == ['high', 'low', 'random']
    # By batch, order and ratio; accuracies alone would hide much.
    passes = len(found) * len(RATIOS)
    for number, (order, ratio) in enumerate(itertools.product(found, RATIOS)):
        logits = oracle(model, dataset, order, ratio)
        torch.testing.assert_close(torch.cat(seen[number::passes]), logits, atol=1e-4, rtol=1e-4)
        right = (logits.argmax(dim=1) == torch.tensor(LABELS)).double().mean()
        assert found[order][RATIOS.index(ratio)] == pytest.approx(100 * float(right))


def test_a_guides_attention_counts_instead(model, monkeypatch):
    """By the patches that a classifier with another attention would have painted."""
    dataset, guide, asked = LabelledImages(LABELS), torch.nn.Identity(), []

    def scores(vit, images, given):
        asked.append(given is guide)
        return torch.arange(35.).roll(len(asked)).expand(len(images), -1)

    monkeypatch.setattr(masked_accuracy, 'attention_to_patches', scores)
    seen = []
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    masked_accuracies(model, loader_in_order(dataset, 4), [.1], ['high'], guide=guide)
    assert asked == [True] * 3
    # floor(35 * .1) = 3 patches, those of the largest numbers; the roll moves them on.
    black = [(image - image.amin(dim=(1, 2), keepdim=True)).unflatten(1, (5, 8)).unflatten(
        3, (7, 8)).amax(dim=(0, 2, 4)).flatten() == 0 for image in seen]
    assert [each.nonzero()[:, 0].tolist() for each in black] == [[0, 33, 34], [0, 1, 34], [0, 1, 2]]


def test_batches_do_not_matter(model):
    dataset = LabelledImages(LABELS)
    runs = [masked_accuracies(model, loader_in_order(dataset, size), [.3, .6])
            for size in (1, 3, 11)]
    assert runs[0] == runs[1] == runs[2]


def test_bad_input_is_one_clear_line(model):
    loader = loader_in_order(LabelledImages(LABELS), 4)
    for arguments, message in ((dict(ratios=[]), 'at least one share'),
                               (dict(ratios=[.5, 1.1]), 'each from 0 to 1'),
                               (dict(ratios=[.5], orders=['top']), "order 'top' is unknown")):
        with pytest.raises(InputError, match=message):
            masked_accuracies(model, loader, **arguments)
    with pytest.raises(InputError, match='no images to classify'):
        masked_accuracies(model, [], [.5])
