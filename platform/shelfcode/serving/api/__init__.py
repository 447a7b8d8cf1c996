"""What surfaces ask and are answered."""
