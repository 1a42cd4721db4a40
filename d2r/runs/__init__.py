"""What a run's folder is: its record, its files, who works on it and how far it has come."""
