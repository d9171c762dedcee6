"""XMA: a power of two, or zero, for every column of a crossbar on a frozen backbone."""
