"""What clinical tables say of patients: words in several languages -> diseases -> columns of numbers."""
