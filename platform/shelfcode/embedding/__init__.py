"""Embedding: text view -> embedding."""
