"""How the embedded FaceLLM-mini is made: a tower tuned on what a teacher saw, a pretrained decoder, a connector.

`train/mini/README.md` lists the stages in their order, each with its command and what it gave.
"""
