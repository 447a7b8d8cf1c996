"""The codes of a release and what is known of its products, laid out to be looked up. Knows nothing of those who look."""
