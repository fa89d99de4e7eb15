"""ViTClassifier: sizes are taken from the transformer, and freezing."""

import pytest
import torch
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS
from torch import nn

from amt_mm.errors import InputError

ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)


def classifier(backbone=(), **changes):
    torch.manual_seed(0)
    return MODELS.build({**dict(
        type='amt_mm.ViTClassifier',
        backbone=dict(type='VisionTransformer', arch=ARCH, img_size=(24, 40), patch_size=8,
                      **dict(backbone)),
        neck=dict(type='ClsBatchNormNeck'),
        head=dict(type='VisionTransformerClsHead', num_classes=5, loss=dict(
            type='CrossEntropyLoss')),
        data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=5)), **changes})


def samples(labels):
    from mmpretrain.structures import DataSample
    return [DataSample().set_gt_label(label) for label in labels]


def test_neck_and_head_have_the_width_of_the_transformer():
    model = classifier()
    assert model.neck.bn.num_features == 24
    assert model.head.layers.head.weight.shape == (5, 24)


def test_contradicting_width_is_rejected():
    with pytest.raises(InputError, match='model.head.in_channels=768 contradicts the backbone'):
        classifier(head=dict(type='LinearClsHead', num_classes=5, in_channels=768))
    with pytest.raises(InputError, match='model.neck.input_features=768'):
        classifier(neck=dict(type='ClsBatchNormNeck', input_features=768))


def test_unknown_head_is_rejected():
    with pytest.raises(InputError, match="model.head.type='NoHead' is not registered"):
        classifier(head=dict(type='NoHead'))


def test_only_the_head_of_a_frozen_model_is_trained():
    model = classifier(frozen=True, backbone=dict(drop_path_rate=.5, drop_rate=.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.)
    images = torch.randn(4, 3, 24, 40)
    model.loss(images, samples([0, 4, 1, 1]))['loss'].backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items()
             if not torch.equal(value, before[name])}
    assert moved == {'head.layers.head.weight', 'head.layers.head.bias', 'neck.bn.running_mean',
                     'neck.bn.running_var', 'neck.bn.num_batches_tracked'}
    # The backbone is in evaluation mode, without dropout and drop path.
    assert torch.equal(model.extract_feat(images, stage='backbone')[-1],
                       model.extract_feat(images, stage='backbone')[-1])
    assert model.neck.training


def test_feature_is_the_class_token_after_norm_and_batch_norm():
    model = classifier().eval()
    model.neck.bn.running_mean.copy_(torch.randn(24))
    model.neck.bn.running_var.copy_(torch.rand(24) + .5)
    images = torch.randn(1, 3, 24, 40)
    raw = VisionTransformer(ARCH, (24, 40), 8, out_type='raw', final_norm=False)
    raw.eval()  # returns None
    raw.load_state_dict({k.removeprefix('backbone.'): v for k, v in model.state_dict().items()
                         if k.startswith('backbone.') and '.ln1.' not in k[:13]})
    token = raw(images)[-1][:, 0]
    token = nn.functional.layer_norm(token, (24,), model.backbone.ln1.weight,
                                     model.backbone.ln1.bias, 1e-6)
    token = (token - model.neck.bn.running_mean) / (model.neck.bn.running_var + 1e-6).sqrt()
    wanted = model.head.layers.head(token)
    assert torch.allclose(model(images), wanted, atol=1e-6)


def test_average_pooling_normalises_after_the_mean():
    model = classifier(backbone=dict(out_type='avg_featmap'), neck=None).eval()
    assert not model.backbone.final_norm
    with torch.no_grad():
        model.backbone.ln2.weight.uniform_(.5, 2)
    images = torch.randn(2, 3, 24, 40)
    raw = VisionTransformer(ARCH, (24, 40), 8, out_type='raw', final_norm=False)
    raw.eval()  # returns None
    raw.load_state_dict({k.removeprefix('backbone.'): v for k, v in model.state_dict().items()
                         if k.startswith('backbone.') and '.ln2.' not in k[:13]})
    mean = raw(images)[-1][:, 1:].mean(dim=1)
    mean = nn.functional.layer_norm(mean, (24,), model.backbone.ln2.weight,
                                    model.backbone.ln2.bias, 1e-6)
    assert torch.allclose(model.extract_feat(images)[-1], mean, atol=1e-6)
