"""The demonstration: a bag played into running nodes, with the simulator's truth beside the answers."""
