"""Read the scalars that MMEngine logs."""

from __future__ import annotations

from pathlib import Path

from amt_mm.checks import is_number
from amt_mm.errors import InputError
from amt_mm.json_files import parse_json


def scalars(work_dir: Path) -> list[dict]:
    """Read all scalars that MMEngine wrote in a work_dir, in the order of the runs.

    Raises:
        InputError: A line is damaged.
    """
    records = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        # A killed process or a full disk leaves a part of a line, without its end, as the last.
        for number, line in enumerate(file.read_bytes().split(b'\n')[:-1], 1):
            records.append(_record(line, f'{file}:{number}'))
    return records


def _record(line: bytes, where: str) -> dict:
    try:
        record = parse_json(line)
    except ValueError as error:
        raise InputError(f'{where} is not JSON ({error}): remove the line') from error
    if not isinstance(record, dict) or not all(map(is_number, record.values())):
        raise InputError(f'{where} is no record of numbers: remove the line')
    return record
