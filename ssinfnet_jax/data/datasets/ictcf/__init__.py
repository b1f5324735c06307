"""ICTCF: CT slices of patients with a clinical table."""
