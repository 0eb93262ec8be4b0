"""Public exams that every implementation of a boundary sits, and the fakes that they use."""
