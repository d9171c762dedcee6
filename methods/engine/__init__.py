"""What methods share: the strategy and its trainer, the masks' equations, and how a learned task is stored."""
