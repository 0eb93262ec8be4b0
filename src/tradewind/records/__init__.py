"""What the system writes: frozen values that stages hand to each other and the store keeps."""
