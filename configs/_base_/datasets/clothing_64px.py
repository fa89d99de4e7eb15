# clothing-dataset-small (CC0 1.0): 3,781 photographs of clothes in 10 classes, in the folders
# data/clothing/{train,val,test}. Probes fit on train and are scored on val and test pooled
# (713 images: one standard error of an accuracy of 50 % is 1.9 points).
_base_ = './pretrain_64px.py'

_load = dict(type='amt_mm.LoadImage')
_whole = dict(
    type='amt_mm.ImageFolder', data_root='data/clothing', pipeline=[_load] + _base_.whole_pipeline)
train_dataloader = dict(
    dataset=dict(
        type='amt_mm.ImageFolder',
        data_root='data/clothing',
        data_prefix='train',
        pipeline=[_load] + _base_.train_pipeline))
# How tools/compare.py and tools/quickstart.py evaluate the encoder.
probe = dict(
    train=dict(data_prefix='train', **_whole),
    test=dict(
        type='amt_mm.ConcatDataset',
        datasets=[dict(data_prefix='val', **_whole), dict(data_prefix='test', **_whole)]))
