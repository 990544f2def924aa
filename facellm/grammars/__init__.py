"""What form an answer must have, and which tokens keep it in that form."""
