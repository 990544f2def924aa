"""What people type about a face, and answers to it; wordings and forms are in YAML files."""
