"""What a person looks at: firing rates, event pictures, training curves."""
