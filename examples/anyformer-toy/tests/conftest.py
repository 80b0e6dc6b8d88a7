pytest_plugins = ["anyformer.testing"]
