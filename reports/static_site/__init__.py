"""A site of static files over several results folders, with leaderboards; and a comparison as a comment."""
