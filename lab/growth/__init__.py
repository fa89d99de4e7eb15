"""How time and memory grow with the number of samples: start-up, refresh, resume, look-up."""
