"""From a config with an overlay to one training step, guided, in some milliseconds."""

import copy

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmpretrain.registry import HOOKS, MODELS, TRANSFORMS
from torch.utils.data import DataLoader

from amt_mm.config import apply_overlay
from amt_mm.shipped import configs_folder

# A grid of 4 x 6 tokens, 6 units of SimMIM.
SIZE, PATCH, HOSTS = (16, 24), 4, ('mae', 'simmim', 'maskfeat')
ARCH = dict(embed_dims=12, num_layers=1, num_heads=3, feedforward_channels=12)
ENCODER = dict(arch=ARCH, img_size=SIZE, patch_size=PATCH)
MODELS_OF = dict(
    mae=dict(
        type='MAE', backbone=dict(type='MAEViT', **ENCODER),
        neck=dict(type='MAEPretrainDecoder', decoder_embed_dim=12, decoder_depth=1,
                  decoder_num_heads=3, mlp_ratio=1),
        head=dict(type='MAEPretrainHead', norm_pix=True,
                  loss=dict(type='PixelReconstructionLoss', criterion='L2'))),
    simmim=dict(
        type='amt_mm.AMTSimMIM', backbone=dict(type='amt_mm.AMTSimMIMViT', **ENCODER),
        neck=dict(type='amt_mm.AMTSimMIMDecoder'),
        head=dict(type='amt_mm.AMTSimMIMHead',
                  loss=dict(type='PixelReconstructionLoss', criterion='L1'))),
    maskfeat=dict(
        type='MaskFeat', backbone=dict(type='MaskFeatViT', **ENCODER),
        neck=dict(type='LinearNeck', norm_cfg=None),
        head=dict(type='MIMHead', loss=dict(type='PixelReconstructionLoss', criterion='L2')),
        target_generator=dict(type='HOGGenerator', pool=4, gaussian_window=4)))
OVERLAYS = {host: Config.fromfile(configs_folder() / '_base_' / 'amt' / f'{host}-amt.py').overlay
            for host in HOSTS}
_IMAGE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


class Maps:
    """A store in memory."""

    def __init__(self, maps):
        self.maps = maps

    def lookup(self, sample_idx):
        return self.maps[sample_idx]


def tiny_config(host):
    """A baseline and the host's overlay, not merged yet."""
    return Config(copy.deepcopy(dict(
        model=MODELS_OF[host], overlay=OVERLAYS[host],
        data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[120.] * 3, std=[60.] * 3),
        train_dataloader=dict(dataset=dict(type='CustomDataset', pipeline=[
            dict(type='RandomResizedCrop', scale=SIZE), dict(type='RandomFlip', prob=.5),
            dict(type='PackInputs')])))))


def train_a_step(cfg):
    """Merge, build, look at two images, and train a guided step on crops of them; the loss."""
    torch.manual_seed(0)
    apply_overlay(cfg)
    hooks = [HOOKS.build(hook) for hook in cfg.get('custom_hooks', ())]
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    preprocessor = model.data_preprocessor
    if hasattr(preprocessor.mask_generator, 'progress'):
        preprocessor.mask_generator.progress = .5
    pipeline = Compose([TRANSFORMS.build(step)
                        for step in cfg.train_dataloader.dataset.pipeline])
    batch = default_collate([
        pipeline(dict(img=_IMAGE, img_shape=_IMAGE.shape[:2], sample_idx=index))
        for index in range(2)])
    loader = DataLoader([0, 1], batch_size=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=.01)
    preprocessor(batch, training=True)  # the warm-up's plan
    for hook in hooks:
        settings = hook.settings
        settings.check(model, loader)
        size = settings.size or batch['inputs'].shape[-2:]
        whole = {**batch, 'inputs': torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)}
        maps = settings.of_batch(model, whole)
        preprocessor.store = Maps(maps.unflatten(1, settings.grid(model.backbone)))
        assert [hook.is_due(step) for step in (hook.begin, hook.begin + hook.interval)] == [
            True, hook.end is None or hook.begin + hook.interval < hook.end]
    loss = model(**preprocessor(batch, training=True), mode='loss')['loss']
    loss.backward()
    optimizer.step()
    return float(loss)
