# CIFAR-100: 50,000 + 10,000 images of 32 pixels.
#   amt download cifar100 --root data
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=100,
        dataset=dict(type='amt_mm.CIFAR100', data_root='data/cifar100'),
        train=dict(split='train'),
        test=dict(split='test')))
