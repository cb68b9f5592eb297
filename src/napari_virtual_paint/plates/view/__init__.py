"""What a viewer shows of a plate: well colours, fields, mosaics. No Qt."""
