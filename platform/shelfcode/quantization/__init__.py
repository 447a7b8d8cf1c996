"""Quantization: embedding -> semantic ID."""
