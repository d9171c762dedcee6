"""Run records: their schema, their reader, the papers' numbers, and the reference runs kept in git."""
