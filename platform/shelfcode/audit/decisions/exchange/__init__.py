"""Decisions as files: corrections for whoever keeps the catalog, findings for those who review elsewhere, and their answers back."""
