"""Folders of images of which some are unreadable, in every common way."""

import io
import os
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(kind, side=(30, 45), seed=0):
    """The bytes of a valid image file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def png_header(height, width):
    """A PNG that ends after one chunk of a few bytes."""
    def chunk(name, data):
        return (struct.pack('>I', len(data)) + name + data
                + struct.pack('>I', zlib.crc32(name + data)))

    start = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', start) + chunk(b'IDAT', pixels)
            + chunk(b'IEND', b''))


def jpeg_of_size(height, width):
    """A JPEG whose header has another size than its data."""
    content = bytearray(encoded('JPEG'))
    frame = content.index(b'\xff\xc0')
    content[frame + 5:frame + 9] = struct.pack('>HH', height, width)
    return bytes(content)


# Name -> content.
BAD = {
    'empty.jpg': b'',
    'text.png': b'<html>Sign in to go on</html>' * 9,
    'half.jpg': encoded('JPEG')[:900],
    'head.jpg': encoded('JPEG')[:30],
    'half.png': encoded('PNG')[:2000],
    'half.webp': encoded('WEBP')[:300],
    'half.tiff': encoded('TIFF')[:500],
    'half.bmp': encoded('BMP')[:500],
    'zero.png': png_header(0, 0),
    'zero.jpg': jpeg_of_size(0, 0),
    'bomb.png': png_header(60000, 60000),
    'bomb.jpg': jpeg_of_size(65000, 65000),
    'other.gif': b'GIF89a' + bytes(40),
}
# Names that are not files -> how they are made.
ODD = {
    'gone.jpg': lambda path: None,
    'link.jpg': lambda path: os.symlink('nowhere', path),
    'circle.jpg': lambda path: os.symlink(path, path),
    'folder.jpg': os.mkdir,
}


def write_folder(folder, good=4, bad=()):
    """Write valid images ``good_0.jpg``, ... and bad ones of these names; return the folder."""
    folder.mkdir(parents=True)
    for i in range(good):
        (folder / f'good_{i}.jpg').write_bytes(encoded('JPEG', (30 + i, 45), seed=i))
    for name in bad:
        write_bad(folder / name)
    return folder


def write_bad(path):
    """Make the bad file, or what stands for it, of this name."""
    if path.name in BAD:
        path.write_bytes(BAD[path.name])
    else:
        ODD[path.name](path)
