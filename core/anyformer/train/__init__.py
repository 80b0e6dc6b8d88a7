"""One engine for pretraining and fine-tuning. Read `settings`, `engine`, `checkpoint`, `run`."""
