"""What a checkpoint file is known by."""

import hashlib

from amt_mm.checkpoints.digest import checkpoint_digest


def test_every_byte_counts(tmp_path):
    file = tmp_path / 'a.pth'
    # More than is read at a time.
    content = bytes(range(256)) * 2**16 + b'end'
    file.write_bytes(content)
    assert checkpoint_digest(file) == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert checkpoint_digest('none') == 'none'
