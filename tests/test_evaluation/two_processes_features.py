"""Test loops and a probe on the CPU, in each process that torchrun starts."""

import sys
from pathlib import Path

import torch
from mmengine.dist import get_rank

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import conftest  # noqa: E402
from labelled_toys import LabelledImages, test_runner  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import DATASETS, init_default_scope  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from segmentation_toys import PIPELINE  # noqa: E402

from amt_mm.apis import launch  # noqa: E402
from amt_mm.datasets import SegmentationFolder  # noqa: E402
from amt_mm.hooks import KNNProbeHook  # noqa: E402


def measure(folder, launcher):
    """Measures of an untrained classifier and host; 23 and 11 images divide by no 2."""
    cfg = Config(dict(launcher=launcher))
    launch.prepare_processes(cfg)
    common = dict(launcher=launcher, cfg=cfg, log_level='WARNING', default_scope='mmpretrain')
    train, test = LabelledImages([i * 5 % 7 for i in range(23)]), LabelledImages(
        [i * 3 % 7 for i in range(11)], seed=1)
    found = {}
    for loop in (dict(type='amt_mm.KNNTestLoop', ks=(1, 6, 20)),
                 dict(type='amt_mm.LowShotTestLoop', shots=(1, 3), draws=3)):
        runner = test_runner(folder, loop, train, test, f'{launcher}{len(found)}', **common)
        found.update(runner.test())
    # Some classes have five of these images.
    many = LabelledImages([i * 5 % 7 for i in range(37)])
    for loop in (dict(type='amt_mm.AttentiveTestLoop', queries=4, lrs=[1e-3, 1e-2, 3e-2],
                      weight_decays=[0.0], epochs=2),
                 dict(type='amt_mm.LinearSweepTestLoop', l2=(1e-2, 1e-1)),
                 dict(type='amt_mm.UnsupervisedTestLoop', restarts=2)):
        runner_of_many = test_runner(folder, loop, many, test, f'{launcher}{len(found)}', **common)
        found.update(runner_of_many.test())
    masked = [SegmentationFolder(f'{folder}/masked', part, pipeline=PIPELINE)
              for part in ('train', 'val')]
    runner_of_masks = test_runner(
        folder, dict(type='amt_mm.SegmentationTestLoop', iterations=20, batch_size=3, lr=.03),
        *masked, f'{launcher}-masks', **common)
    found.update(runner_of_masks.test())
    features = runner.test_loop._encode('test', runner.test_dataloader)
    found.update(features=features.features['cls'], labels=features.labels)

    hook = KNNProbeHook(train=dict(type='ToyLabelled', labels=train.labels),
                        test=dict(type='ToyLabelled', labels=test.labels), begin=0, max_train=19,
                        max_test=9, ks=(3, ), batch_size=2, linear=True)
    images = conftest.ToyImages(conftest.noise_images(4), conftest.toy_pipeline())
    runner = Runner(
        model=dict(type='amt_mm.AMTMAE', backbone=conftest.BACKBONE, neck=conftest.NECK,
                   head=conftest.HEAD, data_preprocessor=conftest.PREPROCESSOR),
        work_dir=str(folder), experiment_name=f'{launcher}-probe', randomness=dict(seed=0),
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=images,
                              sampler=dict(type='DefaultSampler', shuffle=True),
                              collate_fn=dict(type='default_collate')),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0)),
        custom_hooks=[hook], **common)
    runner.train()
    found.update(hook.probe(runner, 1, 0))
    found.pop('knn/seconds')
    return found


def main(folder):
    init_default_scope('mmpretrain')
    DATASETS.register_module(name='ToyLabelled', module=LabelledImages)
    torch.save(measure(folder, 'pytorch'), f'{folder}/rank{get_rank()}.pt')
    launch.end_processes()


if __name__ == '__main__':
    main(sys.argv[1])
    launch.exit_after_gloo()
