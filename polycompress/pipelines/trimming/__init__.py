"""What trimming, inspecting and planning are made of."""
