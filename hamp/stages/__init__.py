"""The stages of a run, each a function from tables to tables; scripts and the Python API call the same ones."""
