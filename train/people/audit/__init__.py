"""People judge a sample of a data set, sentence by sentence."""
