# Video object segmentation on your own videos in the layout of DAVIS 2017.
#   python tools/test.py THIS_CONFIG CHECKPOINT
_base_ = './vit-base-p16_video-segmentation_davis2017.py'

overlay = dict(labelled=dict(dataset=dict(data_root='data/folder')))
