"""Guided training with the fast pipeline, with a refresh before each epoch."""

import numpy as np
import pytest

from amt_mm.datasets import StagedDataset
from amt_mm.guidance import SaliencyUpdateHook

CROP = [dict(type='amt_mm.ReadImage'),
        dict(type='amt_mm.DecodeRandomResizedCrop', scale=(40, 56)),
        dict(type='RandomFlip', prob=.5), dict(type='amt_mm.PackInputsWithBox')]
REPEATED = [CROP[0], dict(type='amt_mm.RepeatedCrops', transforms=CROP[1:], repeats=2)]


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('pipeline, collate, repeats', [
    (CROP, 'default_collate', 1), (REPEATED, 'amt_mm.collate_repeats', 2)])
def test_trains_guided(toy_runner, toy_images, workers, pipeline, collate, repeats):
    dataset = StagedDataset(toy_images(7, pipeline=pipeline))
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=1, interval=1)], dataset=dataset, epochs=2,
                        loader=dict(collate_fn=dict(type=collate), num_workers=workers))
    runner.train()
    steps = runner.recorder.steps
    assert [step['map_step'] for step in steps] == [None] * 3 + [1] * 3
    for epoch in (0, 1):
        seen = sum((step['sample_idx'] for step in steps if step['epoch'] == epoch), [])
        assert sorted(seen) == sorted(list(range(7)) * repeats)
    boxes = np.concatenate([step['crop_box'] for step in steps])
    assert len(np.unique(boxes, axis=0)) == 14 * repeats
