"""TALL-masks: fine-tuned networks summed into one vector, and for each task the mask that finds it again."""
