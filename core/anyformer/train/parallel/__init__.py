"""Several processes in one run: who they are, and what each holds of the model."""
