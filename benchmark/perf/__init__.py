"""Step times side by side: the methods, what users would use instead, and the limits of the device."""
