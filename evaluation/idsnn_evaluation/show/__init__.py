"""The report for people: terminal, page, figures, and several reports side by side.

Reads what a report says and counts nothing; only the command imports it.
Imports `counting` for the meaning of its keys, and no other wing.
"""
