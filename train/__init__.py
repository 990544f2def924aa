"""Building, training, auditing and measuring FaceLLM: `python -m train VERB --help`."""
