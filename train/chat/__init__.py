"""What people ask about faces: put to a model in wordings that training never saw, and scored by rules."""
