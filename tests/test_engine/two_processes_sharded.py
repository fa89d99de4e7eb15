"""Two epochs with a sharded or a plain optimiser, in each process of torchrun, compiled or not."""

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


def main(folder, name, settings):
    settings = {**dict(epochs=2, resume=None, compile=False, optimizer={}), **json.loads(settings)}
    cfg = Config(dict(launcher='pytorch', compile=settings['compile']))
    if not distributed.is_initialized():
        launch.prepare_processes(cfg)
    else:
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False,
                                     device_ids=None)
    images = conftest.ToyImages(conftest.noise_images(8), conftest.toy_pipeline())
    runner = OverlayRunner(
        model=dict(type='amt_mm.AMTMAE', backbone=conftest.BACKBONE, neck=conftest.NECK,
                   head=conftest.HEAD, data_preprocessor=conftest.PREPROCESSOR),
        work_dir=f'{folder}/{name}', launcher='pytorch', default_scope='mmpretrain',
        log_level='WARNING', cfg=cfg, experiment_name=name,
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=images,
                              sampler=dict(type='DefaultSampler', shuffle=True),
                              collate_fn=dict(type='default_collate')),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=settings['epochs']),
        optim_wrapper=dict(
            type='OptimWrapper', clip_grad=dict(max_norm=1.0),
            optimizer=dict(**{'type': 'AdamW', 'lr': 1e-2, 'weight_decay': .05, 'fused': True,
                              **settings['optimizer']}),
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0)),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=4, by_epoch=True)],
        default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[StepSeedHook(), SaliencyUpdateHook(1, 1)], randomness=dict(seed=0),
        load_from=settings['resume'] and f'{folder}/{settings["resume"]}',
        resume=bool(settings['resume']))
    runner.train()
    optimizer = runner.optim_wrapper.optimizer
    state = getattr(optimizer, 'optim', optimizer).state
    torch.save(dict(
        weights=runner.model.module.state_dict(),
        kept=sum(s['exp_avg'].numel() for s in state.values() if 'exp_avg' in s),
        graphs=torch._dynamo.utils.counters['stats'].get('unique_graphs', 0)),
        f'{folder}/{name}_rank{distributed.get_rank()}.pt')


if __name__ == '__main__':
    for arguments in json.loads(sys.argv[2]):
        main(sys.argv[1], arguments.pop('name'), json.dumps(arguments))
    distributed.barrier()
    distributed.destroy_process_group()
    launch.exit_after_gloo()
