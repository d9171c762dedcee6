"""From what a user asks for to a plan: one resolved ``RunSpec`` per run. Imports no torch."""
