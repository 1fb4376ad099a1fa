"""What a test may change about the double; not part of the real package."""

permute = False
"""The importer numbers joints and bodies in an order of its own."""
noise = 0.0
"""m and rad by which `prepare_sim` moves everything."""
friction_in_contacts = False
"""Net contact forces have friction in them, unlike PhysX's, for comparisons with a simulator that reports it."""
force_in_every_substep = True
"""An applied force acts in every substep, or only in the first."""
