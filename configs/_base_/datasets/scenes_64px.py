# Synthetic scenes: one textured object of 10 classes on a cluttered background, with its exact
# mask; painted from a seed in a few seconds, no download.
_base_ = './pretrain_64px.py'

train_dataloader = dict(
    dataset=dict(
        type='amt_mm.SceneDataset', num_samples=2400, split='train',
        pipeline=_base_.train_pipeline))
# How tools/compare.py and tools/quickstart.py evaluate the encoder.
probe = dict(
    train=dict(
        type='amt_mm.SceneDataset', num_samples=2400, split='train',
        pipeline=_base_.whole_pipeline),
    test=dict(
        type='amt_mm.SceneDataset', num_samples=1200, split='test',
        pipeline=_base_.whole_pipeline))
