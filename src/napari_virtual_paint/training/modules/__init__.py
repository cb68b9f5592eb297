"""Lightning modules and losses."""
