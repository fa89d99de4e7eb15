"""The race: accuracy over time, compared with other implementations of MAE (docs/race.md)."""
