"""Scenarios: ordered tasks of real images, the backbone to start from, and the protocol of the paper they follow."""
