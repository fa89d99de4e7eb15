# UPerNet (Xiao et al., ECCV 2018) on a plain ViT and the feature pyramid of ViTDet: ViT-B/16 at
# 512 x 512, all layers global, as the grid of 32 x 32 patches allows.
#
# Another size: backbone.arch and, to match, neck.in_channels. Another patch: backbone.patch_size
# and neck.patch_size. The number of classes is that of the data set,
# overlay.labelled.dataset.num_classes.
_base_ = 'mmseg::_base_/models/upernet_mae.py'

# Says in one line what to run where mmseg or mmcv's compiled operators are missing.
custom_imports = dict(imports=['amt_mm.detection.with_mmseg'])

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='amt_mm.ViTDet',
        arch='base',
        img_size=512,
        patch_size=16,
        window_size=0,
        drop_path_rate=0.1),
    neck=dict(
        _delete_=True,
        type='amt_mm.SimpleFeaturePyramid',
        in_channels=768,
        out_channels=256,
        patch_size=16),
    decode_head=dict(in_channels=[256, 256, 256, 256], num_classes=None),
    auxiliary_head=dict(in_channels=256, num_classes=None),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
