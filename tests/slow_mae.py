"""MAE on a plan, written slowly: sample by sample, patch by patch."""

import torch

from amt_mm.masking import MaskPlan

ROWS, COLUMNS, PATCH = 5, 7, 8


def make_plan(batch=3, masked=15, thrown=14, grid=(ROWS, COLUMNS), seed=1):
    chance = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(grid[0] * grid[1], generator=chance)
                         for _ in range(batch)])
    return MaskPlan.from_order(order, masked, thrown, grid)


def make_images(batch=3, height=ROWS * PATCH, width=COLUMNS * PATCH, seed=2):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def pixels(images, sample, token, columns=COLUMNS):
    """The (P, P, C) window of one patch, cut out by its row and column."""
    row, column = divmod(int(token), columns)
    return images[sample, :, row * PATCH:(row + 1) * PATCH,
                  column * PATCH:(column + 1) * PATCH].permute(1, 2, 0)


def slow_encoder(backbone, images, plan):
    embedded = backbone.patch_embed(images)[0]  # mmpretrain's convolution, (B, N, D)
    latents = []
    for sample, ids in enumerate(plan.visible.tolist()):
        tokens = [backbone.cls_token[0, 0] + backbone.pos_embed[0, 0]]
        tokens += [embedded[sample, i] + backbone.pos_embed[0, 1 + i] for i in ids]
        tokens = torch.stack(tokens)[None]
        for layer in backbone.layers:
            tokens = layer(tokens)
        latents.append(backbone.ln1(tokens)[0])
    return torch.stack(latents)


def slow_decoder(neck, latent, plan):
    """Scatter to all N tokens, add all positions, delete the thrown, run the blocks."""
    count = plan.grid[0] * plan.grid[1]
    predictions = []
    for sample in range(len(latent)):
        embedded = neck.decoder_embed(latent[sample])
        tokens = [neck.mask_token[0, 0]] * count
        for place, token in enumerate(plan.visible[sample].tolist()):
            tokens[token] = embedded[1 + place]
        tokens = torch.stack([embedded[0], *tokens]) + neck.decoder_pos_embed[0]
        thrown = set(plan.thrown[sample].tolist())
        kept = [i for i in range(count) if i not in thrown]
        tokens = tokens[[0] + [1 + i for i in kept]][None]
        for block in neck.decoder_blocks:
            tokens = block(tokens)
        tokens = neck.decoder_pred(neck.ln1(tokens))[0]
        where = {token: 1 + place for place, token in enumerate(kept)}
        predictions.append(torch.stack([tokens[where[i]] for i in plan.masked[sample].tolist()]))
    return torch.stack(predictions)


def slow_loss(model, images, plan):
    """Squared error averaged over the pixels of each masked patch, then over these patches."""
    prediction = slow_decoder(model.neck, slow_encoder(model.backbone, images, plan), plan)
    errors = []
    for sample, ids in enumerate(plan.masked.tolist()):
        for place, token in enumerate(ids):
            target = pixels(images, sample, token).flatten()
            if model.head.norm_pix:
                target = (target - target.mean()) / (target.var() + 1e-6)**.5
            errors.append((prediction[sample, place] - target).square().mean())
    return sum(errors) / len(errors)
