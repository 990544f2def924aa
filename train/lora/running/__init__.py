"""How a run is carried out and followed: the Trainer's settings, what a machine allows, trackers, the hub."""
