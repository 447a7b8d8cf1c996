"""What a retraining changed."""
