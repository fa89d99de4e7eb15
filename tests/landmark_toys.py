"""Revisited Oxford in small: the files of the published archive, images of noise."""

import pickle

import cv2
import numpy as np

LISTS = [dict(easy=[1, 3], hard=[0], junk=[2]), dict(easy=[4], hard=[], junk=[0, 2])]


def write_landmarks(root, lists=None, database=5):
    """Write queries and a database of 40 x 56 pixels."""
    lists = LISTS if lists is None else lists
    (root / 'jpg').mkdir(parents=True)
    chance = np.random.RandomState(0)
    content = dict(imlist=[f'base_{i}' for i in range(database)],
                   qimlist=[f'query_{i}' for i in range(len(lists))],
                   gnd=[dict(bbx=[3.2, 1, 47.9, 36 - i], **each) for i, each in enumerate(lists)])
    for name in (*content['imlist'], *content['qimlist']):
        image = chance.randint(0, 256, (1, 1, 3)) + chance.randint(-90, 90, (40, 56, 3))
        cv2.imwrite(str(root / 'jpg' / f'{name}.jpg'), image.clip(0, 255).astype(np.uint8))
    (root / 'gnd_roxford5k.pkl').write_bytes(pickle.dumps(content, protocol=2))
    return root
