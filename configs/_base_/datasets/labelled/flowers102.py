# Flowers-102: 2,040 images for training (its training and validation parts), 6,149 for testing.
#   https://www.robots.ox.ac.uk/~vgg/data/flowers/102: jpg/, imagelabels.mat, setid.mat
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=102,
        dataset=dict(type='amt_mm.Flowers102', data_root='data/flowers102'),
        train=dict(split='trainval'),
        test=dict(split='test')))
