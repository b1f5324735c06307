"""Benchmarks; each program prints a table and writes it with --json."""
