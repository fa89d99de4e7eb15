# STL-10: 5,000 + 8,000 labelled images of 96 pixels.
#   amt download stl10 --root data
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=10,
        dataset=dict(type='amt_mm.STL10', data_root='data/stl10_binary'),
        train=dict(split='train'),
        test=dict(split='test')))
