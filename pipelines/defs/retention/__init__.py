"""How long data is kept, what goes when it is older, and erasure of users and companies."""
