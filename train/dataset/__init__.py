"""FairFaceGPT: rows of label files, a teacher or measurements, answers on disk, the data set that comes of them."""
