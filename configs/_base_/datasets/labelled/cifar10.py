# CIFAR-10: 50,000 + 10,000 images of 32 pixels.
#   amt download cifar10 --root data
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=10,
        dataset=dict(type='amt_mm.CIFAR10', data_root='data/cifar10'),
        train=dict(split='train'),
        test=dict(split='test')))
