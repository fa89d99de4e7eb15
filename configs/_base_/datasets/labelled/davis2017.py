# DAVIS 2017 at 480p: the 30 videos of its validation set, 2 objects each on average.
#   --cfg-options overlay.labelled.dataset.data_root=FOLDER
runner_type = 'amt_mm.OverlayRunner'
overlay = dict(
    labelled=dict(
        dataset=dict(type='amt_mm.DavisVideos', data_root='data/DAVIS'),
        test=dict(split='val')))
