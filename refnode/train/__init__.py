"""Training: mini-batches, optimisers, schedules, checkpoints; `fit` in loop.py."""
