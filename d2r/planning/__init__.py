"""What a scale holds, what it will cost here, and how far it has come."""
