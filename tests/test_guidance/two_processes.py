"""One epoch, or as the second argument says, on the CPU in each process of torchrun."""

import json
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
from amt_mm.guidance import SaliencyUpdateHook  # noqa: E402
from amt_mm.reliability import StepSeedHook  # noqa: E402


def main(folder, settings='{}'):
    settings = {**dict(hook=dict(begin=0, interval=9, batch_size=2), epochs=1, lr=1e-3),
                **json.loads(settings)}
    cfg = Config(dict(launcher='pytorch'))
    launch.prepare_processes(cfg)
    recorder = conftest.PlanRecorder()
    images = conftest.ToyImages(conftest.noise_images(7), conftest.toy_pipeline())
    runner = OverlayRunner(
        model=dict(type='amt_mm.AMTMAE', backbone=conftest.BACKBONE, neck=conftest.NECK,
                   head=conftest.HEAD, data_preprocessor=conftest.PREPROCESSOR),
        work_dir=folder, launcher='pytorch', default_scope='mmpretrain', log_level='WARNING',
        cfg=cfg,
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=images,
                              sampler=dict(type='DefaultSampler', shuffle=True),
                              collate_fn=dict(type='default_collate')),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=settings['epochs']),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=settings['lr'])),
        default_hooks=dict(logger=None),
        custom_hooks=[recorder, StepSeedHook(), SaliencyUpdateHook(**settings['hook'])],
        randomness=dict(seed=0))
    runner.train()
    steps = recorder.steps
    torch.save(dict(
        map_step=[step['map_step'] for step in steps],
        sample_idx=[step['sample_idx'] for step in steps],
        crop_box=[box for step in steps for box in step['crop_box']],
        masked=torch.cat([step['masked'] for step in steps]),
        weights=runner.model.module.state_dict()), f'{folder}/rank{distributed.get_rank()}.pt')
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
    launch.exit_after_gloo()
