"""How good it is: episodes, statistics, tables, pictures."""
