# ImageNet-1K for MAE, in place of mmpretrain's imagenet_bs512_mae.py: the fast input pipeline, 16
# samples at a time through each transform. See docs/performance.md, "Input pipeline".
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs512_mae.py'

train_dataloader = dict(
    # `_delete_` drops a scope entry that the runner would pass to the function.
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(
        _delete_=True,
        type='amt_mm.StagedDataset',
        dataset=dict(
            # Or type='amt_mm.PackedImages', path='data/imagenet_train.amtpack', written by
            # tools/dataset_tools/pack_dataset.py, without data_root and split.
            type='ImageNet',
            data_root='data/imagenet/',
            split='train',
            pipeline=[
                dict(type='amt_mm.ReadImage'),
                dict(
                    type='amt_mm.DecodeRandomResizedCrop',
                    scale=224,
                    crop_ratio_range=(0.2, 1.0),
                    backend='pillow',
                    interpolation='bicubic'),
                dict(type='RandomFlip', prob=0.5),
                dict(type='amt_mm.PackInputsWithBox')
            ])))
