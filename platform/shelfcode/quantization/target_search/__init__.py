"""Codes for a whole catalog at once, before anything is trained: what the encoder is to learn."""
