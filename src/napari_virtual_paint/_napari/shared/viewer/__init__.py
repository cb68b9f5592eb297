"""The viewer's layers and view, as several docks use them."""
