"""A toy iBOT and its crops, for toy runners."""

ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
MODEL = dict(
    type='amt_mm.IBOT',
    backbone=dict(type='amt_mm.IBOTViT', img_size=(40, 56), patch_size=8, arch=ARCH),
    head=dict(type='amt_mm.DistillationHead', out_channels=19, hidden_channels=16,
              bottleneck_channels=8),
    masking=dict(type='amt_mm.CropMasking', strategy='hint'),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[120.0, 110, 100],
                           std=[60.0, 50, 40]))


def multi_crop():
    def crop(scale):
        return [dict(type='RandomResizedCrop', scale=scale), dict(type='RandomFlip', prob=.5)]
    return [dict(type='MultiView', num_views=[1, 1, 2],
                 transforms=[crop((56, 40)), crop((56, 40)), crop((16, 24))]),
            dict(type='PackInputs')]
