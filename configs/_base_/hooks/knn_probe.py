# k-NN accuracy on ImageNet-1K during pre-training on any data: 10 training images per class vote
# on 5 validation images per class, after every 10 epochs and at the end. In your own config:
#
#   _base_ = ['amt_mm::mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py',
#             'amt_mm::_base_/hooks/knn_probe.py']
#   default_hooks = dict(knn_probe={**_base_.knn_probe, 'interval': 20})
#
# Configs with `probe` data sets (configs/clothing, configs/quickstart) do not need this file:
#
#   default_hooks = dict(knn_probe=dict(
#       type='amt_mm.KNNProbeHook', interval=5,
#       train=_base_.probe.train, test=_base_.probe.test))
#
# The curve is in the log and in vis_data/scalars.json; in TensorBoard or W&B with
#
#   visualizer = dict(vis_backends=[dict(type='LocalVisBackend'),
#                                   dict(type='TensorboardVisBackend')])  # or 'WandbVisBackend'
_whole = [
    dict(type='amt_mm.LoadImage'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs')
]
knn_probe = dict(
    type='amt_mm.KNNProbeHook',
    interval=10,
    train=dict(type='amt_mm.ImageNet', data_root='data/imagenet', split='train', pipeline=_whole),
    test=dict(type='amt_mm.ImageNet', data_root='data/imagenet', split='val', pipeline=_whole))
