# ImageNet-1K: 1,281,167 images for training, 50,000 (the validation set) for testing.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=1000,
        dataset=dict(type='amt_mm.ImageNet', data_root='data/imagenet'),
        train=dict(split='train'),
        test=dict(split='val')))
