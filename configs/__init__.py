"""Configs are data only; `--config=configs/FILE.py:VARIANT` names a run for good."""
