"""What maintainers use to make the data that the package ships; not part of what it does for its users."""
