"""The same questions to the double and to a real cluster."""
