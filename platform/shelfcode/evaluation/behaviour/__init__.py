"""Whether products that people take together share prefixes."""
