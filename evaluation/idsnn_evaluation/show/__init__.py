"""The report for people: terminal, page, figures, and several reports side by side.

Reads what a report says and counts nothing; only the command imports it.
Imports the report and its types, and no other wing.
"""
