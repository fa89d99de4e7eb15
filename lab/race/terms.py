"""What all contestants have in common: the network, and the peers' batch and learning rate."""

# The encoder of configs/_base_/models/mae_vit-mini-p8_64px.py, and its decoder.
PIXELS, PATCH = 64, 8
WIDTH, BLOCKS, HEADS, MLP_RATIO = 192, 6, 3, 4
DECODER_WIDTH, DECODER_BLOCKS, DECODER_HEADS = 128, 2, 4
MASK_RATIO = 0.75

# The best that were tried for mmpretrain's MAE ("mmpretrain, batch 16" in
# configs/studies/recommended.py). What the peers document is made for hundreds of epochs: batches
# of hundreds take too few steps in minutes.
BATCH, RATE = 16, 5e-4
WEIGHT_DECAY, BETAS = 0.05, (0.9, 0.95)

# Per channel, of images in [0, 1]: ImageNet's, which all contestants use.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
