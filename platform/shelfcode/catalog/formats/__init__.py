"""How the rows of each format are read: text with a delimiter, JSON, Parquet, and the tables of data lakes."""
