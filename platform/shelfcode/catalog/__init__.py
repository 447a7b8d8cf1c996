"""Catalog: schema, readers, rejected rows, taxonomy, the sample catalog."""
