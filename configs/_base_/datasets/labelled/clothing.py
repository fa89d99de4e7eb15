# clothing-dataset-small (CC0 1.0): 3,068 photographs for training in 10 classes, 713 for testing
# (its validation and test folders pooled: one standard error of 50 % is 1.9 points).
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=10,
        dataset=dict(type='amt_mm.ImageFolder', data_root='data/clothing'),
        train=dict(data_prefix='train'),
        test=dict(
            type='amt_mm.ConcatDataset',
            datasets=[dict(data_prefix='val'), dict(data_prefix='test')])))
