# AttMask with DINO: only the [CLS] loss, with the student's global crops masked.
# Kakogeorgiou et al., ECCV 2022 (arXiv 2203.12719).
_base_ = 'ibot-attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

model = dict(patch_weight=0.0)
