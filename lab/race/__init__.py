"""The race: accuracy over training time, beside other implementations of MAE (docs/race.md)."""
