"""How the embedded FaceLLM-nano is made, from images to weights.

Stages, in order: `encoder` (vision tower), `features` (its tokens, cached once), `corpus` (question-answer pairs by a
measured teacher), `base` (projector and decoder). The adapter is then trained by the same `train lora` that every
other model uses.
"""
