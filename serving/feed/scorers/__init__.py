"""What makes a candidate worth showing, one part each."""
