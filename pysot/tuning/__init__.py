"""Search for the best settings of a tracker, on Optuna."""
