"""Tiny trained systems, as `train.py` leaves them."""

from trained_runs import good4cir_run, newsroom_run, rooms_run, work  # noqa: F401 - fixtures
