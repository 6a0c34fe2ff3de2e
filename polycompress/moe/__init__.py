"""Language-family experts: a router and several feed-forward networks in the last layers of a model."""
