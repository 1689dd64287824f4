"""Images: where they come from, how they are split, and how a stage opens them."""
