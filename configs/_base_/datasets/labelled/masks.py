# Your own images in images/ and masks (PNG) in masks/; tested on val/ or, without val/, on
# one image in five.
#   --cfg-options overlay.labelled.dataset.data_root=FOLDER
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        dataset=dict(type='amt_mm.SegmentationFolder', data_root='data/folder', num_classes=None),
        train=dict(split='train'),
        test=dict(split='val')))
