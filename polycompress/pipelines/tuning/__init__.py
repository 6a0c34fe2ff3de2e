"""What fine-tuning and continued pretraining are made of."""
