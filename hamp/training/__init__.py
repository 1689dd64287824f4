"""Training, fine-tuning and evaluation of networks."""
