"""Campaigns: thousands of kills, damaged inputs and strange event logs, counted, each repeatable by its seed.

A test tries what somebody thought of. A campaign tries what nobody did, for as long as it is given:
`python -m tests.campaigns --minutes 60`.
"""
