"""What a refresh of each materialised view costs on a large source."""
