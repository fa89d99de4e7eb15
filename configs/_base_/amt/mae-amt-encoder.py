# AMT with the attention of a given encoder, such as DINOv2's, instead of that of the encoder being
# trained: guided from the first epoch on. No result is published. docs/guidance.md.
#   overlay = dict(hooks=dict(saliency=dict(checkpoint='dinov2_vits14_pretrain.pth')))
_base_ = './mae-amt.py'
overlay = dict(
    hooks=dict(saliency=dict(_delete_=True, type='amt_mm.MapsFromEncoderHook', checkpoint=None)))
