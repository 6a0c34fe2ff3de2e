"""What happens to polycompress when it is killed, when its disk is full, and when its input is hostile."""
