"""What can be compared: everything that answers a clip with one of the seven emotions, behind `base.System`."""
