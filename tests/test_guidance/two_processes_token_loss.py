"""Two epochs on the CPU with TokenLossHook, in each process that torchrun starts."""

import sys
from pathlib import Path

import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import conftest  # noqa: E402
from mmengine.config import Config  # noqa: E402

from amt_mm.apis import launch  # noqa: E402
from amt_mm.engine import OverlayRunner  # noqa: E402
from amt_mm.guidance import TokenLossHook  # noqa: E402
from amt_mm.reliability import StepSeedHook  # noqa: E402


def main(folder):
    cfg = Config(dict(launcher='pytorch'))
    launch.prepare_processes(cfg)
    hook = TokenLossHook(begin=1)
    images = conftest.ToyImages(conftest.noise_images(7), conftest.toy_pipeline())
    runner = OverlayRunner(
        model=dict(type='amt_mm.AMTMAE', backbone=conftest.BACKBONE, neck=conftest.NECK,
                   head=conftest.HEAD, data_preprocessor=conftest.PREPROCESSOR),
        work_dir=folder, launcher='pytorch', default_scope='mmpretrain', log_level='WARNING',
        cfg=cfg,
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=images,
                              sampler=dict(type='DefaultSampler', shuffle=True),
                              collate_fn=dict(type='default_collate')),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[StepSeedHook(), hook], randomness=dict(seed=0))
    runner.train()
    torch.save(dict(maps=hook.maps.lookup(torch.arange(7)), step=hook.maps.step),
               f'{folder}/rank{distributed.get_rank()}.pt')
    launch.end_processes()


if __name__ == '__main__':
    main(sys.argv[1])
    launch.exit_after_gloo()
