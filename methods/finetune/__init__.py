"""Fine-tuning: a whole network per task, or one network that every task overwrites."""
