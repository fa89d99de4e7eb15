"""Labelled images in memory, and small models for them, all on odd shapes."""

import numpy as np
from conftest import ToyImages
from mmengine.runner import Runner

WHOLE = [dict(type='Resize', scale=(56, 40)), dict(type='PackInputs')]
VIT = dict(
    type='amt_mm.ViTClassifier',
    backbone=dict(type='VisionTransformer', img_size=(40, 56), patch_size=8, out_type='raw',
                  arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)),
    data_preprocessor=dict(mean=[120.0, 110, 100], std=[60.0, 50, 40]))


class LabelledImages(ToyImages):
    """Noise on a colour of its class, one label an image."""

    def __init__(self, labels, seed=0, pipeline=WHOLE, noise=200, **kwargs):
        chance = np.random.RandomState(seed)
        colours = np.random.RandomState(99).randint(0, 256, (64, 1, 1, 3))
        images = [(colours[label] + chance.randint(-noise, noise + 1, (44, 61, 3))).clip(0, 255)
                  .astype(np.uint8) for label in labels]
        self.labels = labels
        super().__init__(images, pipeline, serialize_data=False, **kwargs)

    def load_data_list(self):
        return [dict(img=image, gt_label=label)
                for image, label in zip(self.images, self.labels, strict=True)]


class LabelledFrames(LabelledImages):
    """Ten frames of each file, whose label each has."""

    def __init__(self, labels, folder='train', **kwargs):
        self.folder = folder
        super().__init__([label for label in labels for _ in range(10)], **kwargs)

    def load_data_list(self):
        return [dict(info, img_path=f'{self.folder}/{place // 10}.npy#{place % 10}')
                for place, info in enumerate(super().load_data_list())]


def loader(dataset, batch_size=4, **changes):
    return dict(batch_size=batch_size, num_workers=0, dataset=dataset,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='default_collate'), **changes)


def test_runner(work_dir, test_cfg, train, test, name, model=VIT, **changes):
    """A runner that measures ``model`` by the loop of ``test_cfg``."""
    test_cfg = {'train_dataloader': dict(dataset=train), **test_cfg}
    return Runner(**{**dict(
        model=model, work_dir=str(work_dir), test_dataloader=loader(test), test_cfg=test_cfg,
        test_evaluator=[], default_scope='mmpretrain', randomness=dict(seed=0),
        experiment_name=name), **changes})


test_runner.__test__ = False
