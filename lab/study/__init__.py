"""Studies: recipes by data sets by seeds, trained, judged and compared to a baseline."""
