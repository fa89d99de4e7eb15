# A folder of your own images; class subfolders, or train and val folders of them, are
# recognised (amt_mm/datasets/image_folder.py). Set data_root;
# `amt pretrain FOLDER` and `make quickstart DATA=FOLDER` do.
_base_ = './pretrain_64px.py'

_images = dict(type='amt_mm.ImageFolder', data_root='data/images', skip_unreadable=True)
_load = dict(type='amt_mm.LoadImage')
train_dataloader = dict(
    dataset=dict(split='train', pipeline=[_load] + _base_.train_pipeline, **_images))
# How tools/compare.py and tools/quickstart.py evaluate the encoder.
probe = dict(
    train=dict(split='train', pipeline=[_load] + _base_.whole_pipeline, **_images),
    test=dict(split='val', pipeline=[_load] + _base_.whole_pipeline, **_images))
