"""XBM: one bit per column of a crossbar on a frozen backbone."""
