"""Grids of runs as plain data: `launch.experiment --config=configs/experiments/NAME.py:SIZE`."""
