"""The demonstration: a bag played into running nodes, with the truth beside the answers."""
