"""Mask R-CNN and Cascade Mask R-CNN of the configs build, learn and predict."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.structures import InstanceData

import amt_mm.registry  # noqa: F401

CONFIGS = Path(__file__).parents[2] / 'configs'
CONFIG = CONFIGS / '_base_/models/mask-rcnn_vitdet.py'
CASCADE = CONFIGS / 'mmdet/coco/cascade-mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-90k_coco.py'


@pytest.fixture(autouse=True)
def mmdet_scope():
    """The registry scope of a detection run; restores the previous one."""
    before = DefaultScope.get_current_instance()
    init_default_scope('mmdet')
    yield
    if before is not None:
        init_default_scope(before.scope_name)


def build(cfg):
    from mmdet.registry import MODELS
    return MODELS.build(cfg)


def make_tiny(patch=16, size=(96, 128), classes=3, config=CONFIG):
    """The config at test size: all parts, but narrow."""
    cfg = Config.fromfile(config).model
    cfg.data_preprocessor.pad_size_divisor = 32
    cfg.backbone.update(img_size=size, patch_size=patch, window_size=2, arch=dict(
        embed_dims=24, num_layers=5, num_heads=3, feedforward_channels=48))
    cfg.neck.update(in_channels=24, out_channels=16, patch_size=patch)
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    roi = cfg.roi_head
    roi.bbox_roi_extractor.out_channels = roi.mask_roi_extractor.out_channels = 16
    for head in roi.bbox_head if isinstance(roi.bbox_head, list) else [roi.bbox_head]:
        head.update(in_channels=16, conv_out_channels=16, fc_out_channels=32, num_classes=classes)
    roi.mask_head.update(in_channels=16, conv_out_channels=16, num_classes=classes)
    torch.manual_seed(0)
    model = build(cfg)
    model.init_weights()
    return model


def make_batch(size=(96, 128), count=2):
    """Images of noise, each with a bright rectangle, its box and its mask."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    chance = np.random.RandomState(0)
    inputs, samples = [], []
    for i in range(count):
        image = chance.randint(0, 60, (*size, 3), dtype=np.uint8)
        x, y, w, h = 20 + 9 * i, 16, 48, 40
        image[y:y + h, x:x + w] += 150
        mask = np.zeros((1, *size), np.uint8)
        mask[0, y:y + h, x:x + w] = 1
        sample = DetDataSample(metainfo=dict(
            img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
            scale_factor=(1., 1.), img_id=i))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[x, y, x + w, y + h]], dtype=torch.float32),
            labels=torch.tensor([i]), masks=BitmapMasks(mask, *size))
        inputs.append(torch.from_numpy(image).permute(2, 0, 1).contiguous())
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def test_builds_at_full_size():
    with torch.device('meta'):
        model = build(Config.fromfile(CONFIG).model)
        features = model.extract_feat(torch.empty(1, 3, 1024, 1024))
        assert [f.shape[2] for f in features] == [256, 128, 64, 32, 16]
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(113.9e6, rel=1e-3)
    norms = [type(conv.norm).__name__ for conv in (
        *model.roi_head.bbox_head.shared_convs, *model.roi_head.mask_head.convs)]
    assert norms == ['LayerNorm2d'] * 8
    assert len(model.rpn_head.rpn_conv) == 2


@pytest.mark.slow
@pytest.mark.parametrize(('patch', 'config'), [(16, CONFIG), (8, CONFIG), (16, CASCADE)])
def test_learns_and_predicts(patch, config):
    """A few steps on two images lower the loss, and masks have the images' size."""
    model = make_tiny(patch, config=config)
    wrapper = build_optim_wrapper(model, dict(
        constructor='amt_mm.LayerDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.1),
        paramwise_cfg=dict(layer_decay_rate=.9)))
    model.train()
    losses = []
    for _ in range(12 if config is CASCADE else 6):
        logs = model.train_step(make_batch(), wrapper)
        losses.append(float(logs['loss']))
        stages = ['s0.', 's1.', 's2.'] if config is CASCADE else ['']
        assert {'loss_rpn_cls', 'loss_rpn_bbox', *(
            f'{stage}loss_{name}' for stage in stages for name in ('cls', 'bbox', 'mask'))
                } <= set(logs)
    assert all(np.isfinite(losses)) and losses[-1] < .8 * losses[0], losses
    model.eval()
    with torch.no_grad():
        for sample in model.test_step(make_batch()):
            found = sample.pred_instances
            assert len(found) and found.labels.max() < 3
            assert found.masks.shape == (len(found), 96, 128)


def test_autocast():
    """All parts with weights; mmcv's NMS on CPU requires fp32."""
    model = make_tiny()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        features = model.extract_feat(torch.randn(2, 3, 96, 128))
        outputs = [*model.rpn_head(features), model.roi_head.bbox_head(torch.randn(4, 16, 7, 7)),
                   [model.roi_head.mask_head(torch.randn(4, 16, 14, 14))]]
        loss = sum(part.float().square().mean() for output in outputs for part in output)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_gradient_reaches_every_parameter():
    model = make_tiny()
    model.train()
    data = model.data_preprocessor(make_batch(), True)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert model.backbone.layers[0].attn.rel_pos_h.grad.abs().sum() > 0


def test_batch_of_another_size_than_trained():
    model = make_tiny()
    model.eval()
    with torch.no_grad():
        for size in (160, 96), (70, 133):  # the second is padded to a multiple of 32
            for sample in model.test_step(make_batch(size)):
                assert sample.pred_instances.masks.shape[1:] == size
