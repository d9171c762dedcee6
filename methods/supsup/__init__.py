"""SupSup: a supermask for every task on a random backbone that never trains."""
