"""Time the training steps of several configs in turn, phase by phase."""

from .clock import PHASES, check_processor_time
from .contestant import Contestant
from .memory import peak_memory
from .racing import Race, race, ratios
from .table import result_table, write_race

__all__ = [
    'PHASES', 'Contestant', 'Race', 'check_processor_time', 'peak_memory', 'race', 'ratios',
    'result_table', 'write_race'
]
