"""What a checkpoint file is known by: a hash of its bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path


def checkpoint_digest(checkpoint: Path) -> str:
    """Return a hash of the bytes of a checkpoint; ``'none'`` for random weights."""
    if str(checkpoint) == 'none':
        return 'none'
    digest = hashlib.blake2b(digest_size=16)
    with open(checkpoint, 'rb') as file:
        while block := file.read(2**24):
            digest.update(block)
    return digest.hexdigest()
