"""Dead letters: how many wait for a decision, and whether there are more of them."""
