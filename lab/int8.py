"""What 8 bits cost: accuracy and time of an ONNX export in fp32 and with --int8, on one's images.

The features of both are classified by k-NN and by a linear probe. Times are of one thread and a
batch of 32 images, the shortest of ten, in turn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import parse_first

_BATCH = 32
_TIMES = 10


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='a pre-trained vision transformer')
    parser.add_argument('train', type=Path, help='folder with class subfolders')
    parser.add_argument('test', type=Path, help='the same of other images')
    return parser.parse_args(argv)


if __name__ == '__main__':
    parse_first(parse_args)

import time
from tempfile import TemporaryDirectory

import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader

from amt_mm.apis import launch
from amt_mm.apis.encoder import LoadedEncoder, load_encoder
from amt_mm.apis.export import export
from amt_mm.datasets import ImageFolder
from amt_mm.datasets.optional_packages import optional
from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.evaluation.dataset_features import LabelledFeatures, dataset_labels
from amt_mm.evaluation.judge import measure_features


def main(argv: list[str] | None = None) -> None:
    """Export both, encode both folders with each, and print a table."""
    args = parse_args(argv)
    with launch.one_line_errors(), TemporaryDirectory() as folder:
        loaded = load_encoder(args.checkpoint)
        check_train_and_test(*(batches(loaded, part).dataset for part in (args.train, args.test)),
                             'int8')
        onnxruntime = optional('onnxruntime', 'encoders of 8 bits')
        sessions = {}
        for kind in ('fp32', 'int8'):
            out = Path(folder) / kind
            out.mkdir()
            export(args.checkpoint, 'onnx', out, int8=kind == 'int8')
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            sessions[kind] = onnxruntime.InferenceSession(str(out / 'model.onnx'), options)
        sizes = {kind: (Path(folder) / kind / 'model.onnx').stat().st_size for kind in sessions}
        parts = [encode(loaded, sessions, part) for part in (args.train, args.test)]
        seconds = times(loaded, sessions, args.test)
        print('| | k-NN | linear | ms per batch of 32 | MB |\n|---|---|---|---|---|')
        for kind in sessions:
            found = measure_features(*(part[kind] for part in parts))
            print(f'| {kind} | {found["knn"]:.1f} | {found["linear_mean"]:.1f} '
                  f'| {1e3 * seconds[kind]:.0f} | {sizes[kind] / 1e6:.1f} |')


def batches(loaded: LoadedEncoder, folder: Path) -> DataLoader:
    """Whole images of a folder in batches, as evaluation loads them."""
    return DataLoader(ImageFolder(data_root=str(folder), pipeline=loaded.pipeline), _BATCH,
                      collate_fn=default_collate)


def pixels(batch: dict) -> dict:
    """Input of an exported program: RGB in 0..255, fp32."""
    # OpenCV loads BGR.
    return {'pixels': batch['inputs'].flip(1).float().numpy()}


def encode(loaded: LoadedEncoder, sessions: dict, folder: Path) -> dict[str, LabelledFeatures]:
    """Encode a folder with each program."""
    found = {kind: [] for kind in sessions}
    loader = batches(loaded, folder)
    for batch in loader:
        for kind, session in sessions.items():
            found[kind].append(torch.from_numpy(session.run(['features'], pixels(batch))[0]))
    labels = dataset_labels(loader.dataset)
    return {kind: LabelledFeatures({'mean': torch.cat(rows)}, labels, None)
            for kind, rows in found.items()}


def times(loaded: LoadedEncoder, sessions: dict, folder: Path) -> dict[str, float]:
    """Shortest time of a batch in seconds."""
    batch = pixels(next(iter(batches(loaded, folder))))
    found = {kind: [] for kind in sessions}
    for _ in range(_TIMES):
        for kind, session in sessions.items():
            start = time.perf_counter()
            session.run(['features'], batch)
            found[kind].append(time.perf_counter() - start)
    return {kind: min(rows) for kind, rows in found.items()}


if __name__ == '__main__':
    main()
