"""Runs on a SLURM cluster: frozen copies, the Snakemake that controls a run, its jobs, and what a run will cost."""
