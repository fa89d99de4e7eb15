# Your own images in class folders; tested on val/ or, without val/, on one image in five.
#   --cfg-options overlay.labelled.dataset.data_root=FOLDER overlay.labelled.num_classes=37
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        num_classes=10,
        # skip_unreadable=True decodes all files at the start, and leaves out what cannot be read.
        dataset=dict(
            type='amt_mm.ImageFolder', data_root='data/folder', with_label=True,
            skip_unreadable=False),
        train=dict(split='train'),
        test=dict(split='val')))
