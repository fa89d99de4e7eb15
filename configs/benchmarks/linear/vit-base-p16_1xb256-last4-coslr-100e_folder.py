# Linear evaluation on your own class folders on [CLS] of the last 4 blocks. A few thousand
# images give 1 % of ImageNet's steps, hence the higher learning rate.
#   python tools/train.py THIS_CONFIG --pretrained CHECKPOINT
_base_ = [
    '../../_base_/protocols/linear_last4.py',
    '../../_base_/datasets/labelled/folder.py',
]

optim_wrapper = dict(optimizer=dict(lr=0.05))
auto_scale_lr = dict(base_batch_size=256)
