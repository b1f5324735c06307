"""Measurements; each program prints a table and, with --json, writes it."""
