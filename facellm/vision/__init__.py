"""Pictures and faces: an upload becomes one upright image and a cropped face."""
