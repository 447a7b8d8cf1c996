"""One file a version of the tables, oldest first. A published one is never changed: what is to be otherwise is a new one."""
