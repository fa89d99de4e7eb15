"""Toy runs in two processes, whole under DistributedDataParallel or divided among them."""

import copy

import torch
from conftest import BACKBONE, CROP, HEAD, NECK, PREPROCESSOR, ToyImages, noise_images, toy_pipeline
from forked_group import in_two_processes
from mmengine.config import Config

from amt_mm.engine import OverlayRunner
from amt_mm.guidance import SaliencyUpdateHook

WHOLE = dict(type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None)
DIVIDED = dict(type='amt_mm.ShardedModel')
ADAMW = dict(type='AdamW', lr=1e-3, weight_decay=.05, fused=True)
# Adam divides by a gradient's own size, so noise of rounding grows; here it stays what it is.
SGD = dict(type='SGD', lr=.1, momentum=.9, weight_decay=.05)


def build(folder, name, wrapper=DIVIDED, optimizer=ADAMW, epochs=3, resume=None, model=None,
          images=8, crop=CROP, begin=1, optim=(), default_hooks=(), compiled=False):
    """A runner that refreshes before each epoch from ``begin`` on."""
    model = model or dict(type='amt_mm.AMTMAE', backbone={**BACKBONE, 'with_cp': True}, neck=NECK,
                          head=HEAD, data_preprocessor=PREPROCESSOR)
    images = noise_images(images) if isinstance(images, int) else images
    return OverlayRunner(
        model=copy.deepcopy(model), work_dir=str(folder / name), launcher='pytorch',
        default_scope='mmpretrain', log_level='ERROR', experiment_name=f'{folder.name}-{name}',
        cfg=Config(dict(model_wrapper_cfg=wrapper, compile=compiled)),
        train_dataloader=dict(
            batch_size=2, num_workers=0, collate_fn=dict(type='default_collate'),
            dataset=ToyImages(images, toy_pipeline(scale=crop), serialize_data=False),
            sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
        optim_wrapper={**dict(
            type='OptimWrapper', clip_grad=dict(max_norm=.3), optimizer=optimizer,
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0)), **dict(optim)},
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)],
        default_hooks=dict(logger=None, **dict(default_hooks)), randomness=dict(seed=3),
        custom_hooks=[SaliencyUpdateHook(begin, 1)],
        load_from=resume and str(folder / resume), resume=bool(resume))


def trained(*args, **kwargs):
    """A runner that has trained."""
    runner = build(*args, **kwargs)
    runner.train()
    return runner


def two(work, folder):
    """What ``work(rank)`` returns in two processes of one thread each."""
    def quietly(rank):
        torch.set_num_threads(1)
        return work(rank)

    return in_two_processes(quietly, folder)
