"""Demo companies: people and cohorts in Postgres, and a producer of realistic events."""
