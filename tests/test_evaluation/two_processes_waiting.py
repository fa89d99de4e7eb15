"""Work of one process that takes longer than the timeout of collectives."""

import sys
import time
from datetime import timedelta
from types import SimpleNamespace

import torch
from torch import distributed

from amt_mm.apis.launch import exit_after_gloo
from amt_mm.evaluation import label_free_features, segmentation_loop, unsupervised_loop
from amt_mm.evaluation.segmentation_head import SegmentationHead
from amt_mm.evaluation.shared_work import shared_numbers

TIMEOUT = 1
WORK = 2.5


def after(value):
    time.sleep(WORK)
    return value


def train(tokens, labels, classes, grid, **_):
    return after(SegmentationHead(tokens.shape[-1], classes, grid).eval())


def main(what):
    distributed.init_process_group('gloo', timeout=timedelta(seconds=TIMEOUT))
    features = torch.rand(9, 4)
    model = SimpleNamespace(backbone=SimpleNamespace(patch_resolution=(2, 2)))
    runner = SimpleNamespace(model=model)
    if what == 'shared':
        assert shared_numbers(lambda tasks: after([task / 2 for task in tasks]), [5]) == 2.5
    elif what == 'segmentation':
        segmentation_loop.train_segmentation = train
        loop = SimpleNamespace(runner=runner, settings={}, device='cpu')
        segmentation_loop.SegmentationTestLoop._trained(
            loop, SimpleNamespace(tokens=torch.rand(1, 4, 6), labels=None), 3)
    else:
        unsupervised_loop.image_features = lambda *_, **__: dict(cls=features)
        label_free_features.rankme = lambda _: after(1.)
        loop = SimpleNamespace(runner=runner, agreement=lambda *_: after({}), dataloader=None,
                               seed=0, pooling='cls', fp16=False)
        unsupervised_loop.UnsupervisedTestLoop.measure(
            loop, None, SimpleNamespace(features=dict(cls=features)))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
    exit_after_gloo()
