"""What the policy sees, does and is paid for: the ResDex grasp task, its simulators and its objects."""
