"""Laboratory tools, each on its own: studies, theory, peculiarity, landscapes, conflicts,
explanations, training."""
