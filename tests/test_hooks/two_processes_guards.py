"""One process of two: the guards against faults that not all processes see."""

import sys
from pathlib import Path

import numpy as np
from torch import distributed

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import conftest  # noqa: E402
from mmengine.config import Config  # noqa: E402

from amt_mm.engine import launch  # noqa: E402
from amt_mm.engine.runner import OverlayRunner  # noqa: E402
from amt_mm.errors import InputError  # noqa: E402


def runner_of(cfg, folder, images, **changes):
    settings = dict(
        model=dict(type='amt_mm.AMTMAE', backbone=conftest.BACKBONE, neck=conftest.NECK,
                   head=conftest.HEAD, data_preprocessor=conftest.PREPROCESSOR),
        work_dir=str(folder), launcher='pytorch', default_scope='mmpretrain',
        log_level='WARNING', cfg=cfg,
        train_dataloader=dict(
            batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=conftest.ToyImages(images, conftest.toy_pipeline(), serialize_data=False),
            collate_fn=dict(type='default_collate')),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(logger=None), randomness=dict(seed=0))
    return OverlayRunner(**{**settings, **changes})


def finite(cfg, folder, rank):
    """The images of the second process alone are no numbers."""
    images = [image.astype(np.float32) for image in conftest.noise_images(7)]
    if rank == 1:
        for image in images:
            image[:] = np.nan
    runner = runner_of(cfg, folder, images)
    try:
        runner.train()
    except InputError as error:
        (folder / f'rank{rank}.txt').write_text(str(error))


def main(case, folder):
    cfg = Config(dict(launcher='pytorch'))
    launch.prepare_processes(cfg)
    {'finite': finite}[case](cfg, Path(folder), distributed.get_rank())
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
    launch.exit_after_gloo()
