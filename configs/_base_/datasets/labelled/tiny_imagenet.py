# Tiny ImageNet: 100,000 + 10,000 images of 64 pixels, 200 classes; tested on the
# validation set, as the test set has no labels.
#   amt download tiny-imagenet --root data
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=200,
        dataset=dict(type='amt_mm.TinyImageNet', data_root='data/tiny-imagenet-200'),
        train=dict(split='train'),
        test=dict(split='val')))
