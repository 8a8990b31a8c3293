"""Which of a viewer's candidates come first, and how well that is done."""
