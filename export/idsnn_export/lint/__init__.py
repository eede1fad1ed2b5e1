"""What targets cannot run, said before deployment: rules, one table for simulators and one for chips.

Imports `graph` alone; only the command imports it.
No simulator is imported here: tests run them.
"""
