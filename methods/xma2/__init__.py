"""XMA²: the tiles that matter most are written anew for a task, the columns of all others are scaled."""
