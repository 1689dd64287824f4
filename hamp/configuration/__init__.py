"""Settings of a run: their types and defaults, validation, and the documents made from them."""
