"""How likely each label is wrong: arrays in, arrays out."""
