"""The kinds of bill lines, a module each; `registry` is the table of them."""
