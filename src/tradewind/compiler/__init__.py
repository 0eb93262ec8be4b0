"""Options in, priced plans out. Pure: facts, time and ids come in as values."""
