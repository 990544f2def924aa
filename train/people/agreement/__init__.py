"""How far people agree with synthetic answers, and what is learnt from each."""
