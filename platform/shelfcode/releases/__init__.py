"""Releases of a flavor: published, checked, promoted, and what the next one takes over."""
