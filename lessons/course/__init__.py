"""What runs and checks the lessons, and makes notebooks and a website of them."""
