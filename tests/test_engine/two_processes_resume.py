"""In each of two processes: a run, and runs resumed from it, compared bit for bit."""

import sys
from pathlib import Path

from torch import distributed

for part in (0, 1, 2):
    sys.path.insert(0, str(Path(__file__).parents[part]))

import conftest  # noqa: E402
from mmengine.config import Config  # noqa: E402
from test_train_loops import BY_ITER, SCHEDULERS, Streams, check_same  # noqa: E402

from amt_mm.apis import launch  # noqa: E402
from amt_mm.engine import OverlayRunner  # noqa: E402
from amt_mm.guidance import SaliencyUpdateHook  # noqa: E402


def train(folder, **changes):
    """7 samples, 4 a process with one filled up; 8 steps in cycles of 3; a refresh between."""
    recorder, streams = conftest.PlanRecorder(), Streams()
    cfg = Config(dict(launcher='pytorch'))
    if not distributed.is_initialized():
        launch.prepare_processes(cfg)
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False,
                                 find_unused_parameters=False, device_ids=None)
    runner = OverlayRunner(
        model=dict(type='amt_mm.AMTMAE', backbone=conftest.BACKBONE, neck=conftest.NECK,
                   head=conftest.HEAD, data_preprocessor=conftest.PREPROCESSOR),
        work_dir=str(folder), launcher='pytorch', default_scope='mmpretrain', log_level='WARNING',
        cfg=cfg, experiment_name=folder.name,
        train_dataloader=dict(
            # CPython 3.11 may hang in forking a worker while a thread of gloo comes or goes.
            batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=conftest.ToyImages(conftest.noise_images(7), conftest.toy_pipeline()),
            collate_fn=dict(type='default_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=2), param_scheduler=SCHEDULERS,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3),
                           accumulative_counts=3),
        default_hooks=dict(logger=None, checkpoint=dict(BY_ITER)),
        custom_hooks=[recorder, streams, SaliencyUpdateHook(1, 1, batch_size=2)],
        randomness=dict(seed=0), **changes)
    runner.recorder, runner.streams = recorder, streams
    runner.train()
    return runner


def main(folder):
    whole = train(folder / 'whole')
    for done in (2, 3, 5):
        resumed = train(folder / f'from{done}', resume=True,
                        load_from=f'{whole.work_dir}/iter_{done}.pth')
        check_same(resumed, whole, 8 - done)
    print('as the unbroken one from 2, 3, 5', flush=True)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(Path(sys.argv[1]))
    launch.exit_after_gloo()
