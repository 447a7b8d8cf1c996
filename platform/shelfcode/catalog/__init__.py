"""Catalog: its columns, reading and rejecting rows, snapshots, the taxonomy, and what changed since a release."""
