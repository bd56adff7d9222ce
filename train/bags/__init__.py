"""Reading of logged bags: their messages, and the labelled samples extracted from them."""
