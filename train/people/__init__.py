"""What people judge and write."""
