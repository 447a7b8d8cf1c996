"""What every job shares: its flags, the Ray it runs on, its screen and log, and the last line on stdout."""
