"""Files of features: numpy, torch or Parquet, by the suffix."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.errors import InputError
from amt_mm.printable import printable

# Images written to Parquet at once, so that a part is in memory, not the whole.
_GROUP = 4096


def check_format(path: Path) -> None:
    """Check that a file of features can be written, before hours of work.

    Raises:
        InputError: Another suffix, or Parquet without pyarrow.
    """
    if path.suffix not in WRITERS:
        raise InputError(f'{path}: the suffix gives the format, one of {", ".join(WRITERS)}')
    if path.suffix == '.parquet' and importlib.util.find_spec('pyarrow') is None:
        raise InputError(f'{path}: Parquet needs pyarrow: pip install pyarrow, or use .npz or .pt')


def write_features(path: Path, names: Sequence[str], features: np.ndarray, settings: Mapping
                   ) -> None:
    """Write features under their name when they are complete.

    Args:
        path: The suffix gives the format, see :func:`check_format`.
        names: One per image.
        features: ``(n, F)`` or ``(n, N, F)``; may be larger than the memory if it is mapped.
        settings: What they are, entered in the file.

    Raises:
        InputError: The system refused to write.
    """
    with atomic_file(path) as temporary:
        WRITERS[path.suffix](temporary, names, features, settings)


def _npz(path: Path, names: Sequence[str], features: np.ndarray, settings: Mapping) -> None:
    # An open file, since numpy would add its suffix to a name.
    with open(path, 'wb') as file:
        np.savez(file, names=np.array(names), features=features, settings=json.dumps(settings))


def _torch(path: Path, names: Sequence[str], features: np.ndarray, settings: Mapping) -> None:
    torch.save(dict(names=list(names), features=torch.from_numpy(features),
                    settings=dict(settings)), path)


def _parquet(path: Path, names: Sequence[str], features: np.ndarray, settings: Mapping) -> None:
    import pyarrow
    from pyarrow import parquet

    kind = pyarrow.from_numpy_dtype(features.dtype)
    for size in reversed(features.shape[1:]):
        kind = pyarrow.list_(kind, size)
    schema = pyarrow.schema({'path': pyarrow.string(), 'features': kind},
                            {'settings': json.dumps(settings)})
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, len(names), _GROUP):
            rows = features[start:start + _GROUP]
            column = pyarrow.array(rows.reshape(-1))
            for size in reversed(rows.shape[1:]):
                column = pyarrow.FixedSizeListArray.from_arrays(column, size)
            # Parquet has no place for bytes that are not UTF-8.
            paths = pyarrow.array([printable(name) for name in names[start:start + _GROUP]])
            writer.write_table(pyarrow.Table.from_arrays([paths, column], schema=schema))


WRITERS = {'.npz': _npz, '.pt': _torch, '.parquet': _parquet}
