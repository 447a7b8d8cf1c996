"""The codes of a release and what is known of its products, laid out for asking."""
