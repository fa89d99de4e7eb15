# Linear probing on your own class folders, with a learning rate for a few thousand images: see
# "Linear probing of small data sets" in docs/evaluation.md.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear.py',
    '../../_base_/datasets/labelled/folder.py',
]

train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(lr=12.8))
auto_scale_lr = dict(base_batch_size=256)
