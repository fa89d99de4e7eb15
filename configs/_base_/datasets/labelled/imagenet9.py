# ImageNet-1K for training, the variations of ImageNet-9 (4,050 images each) for testing.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=1000,
        dataset=dict(data_root='data/imagenet'),
        train=dict(type='amt_mm.ImageNet', split='train'),
        test=dict(type='amt_mm.BackgroundsFolder', data_root='data/in9')))
