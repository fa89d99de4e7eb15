"""Studies: recipes × data sets × seeds, trained, evaluated and compared to a baseline."""
