"""xferbench: what happens when a potential learned on GGA data has to work at the r2SCAN level."""
