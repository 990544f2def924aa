"""What a teacher that looked at each face wrote of it, what is therefore true, and words for it."""
