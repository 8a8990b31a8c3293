"""One module a promise: each measures it on real servers, prints a table, and ends with one line of JSON."""
