# ADE20K, scene parsing: 20,210 images for training, 2,000 for testing, 150 classes.
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        dataset=dict(
            type='amt_mm.SegmentationFolder',
            data_root='data/ADEChallengeData2016',
            num_classes=150),
        train=dict(split='train'),
        test=dict(split='val')))
