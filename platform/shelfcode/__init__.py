"""Shelfcode: semantic IDs for product catalogs, on Ray."""

__version__ = "0.1.0"
