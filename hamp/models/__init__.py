"""Networks: by name or the user's own, and their weights."""
