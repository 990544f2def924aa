"""FairFaceGPT: from stored answers to a data set that trainers read."""
