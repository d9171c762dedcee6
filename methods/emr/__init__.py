"""EMR-merging: fine-tuned networks merged into one vector by sign and size, with a mask and a factor per task."""
