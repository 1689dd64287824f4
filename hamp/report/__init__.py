"""The report: figures, tables and the page to choose a network with, from the tables of a run."""
