"""The factory of ``mini``: which crystals are computed, how, in which order, and by what.

| module | concept |
|---|---|
| ``structures`` | the crystals of the list, known with their splits before anything is computed |
| ``meshes`` | the rule that picks a crystal's k-point mesh from a scan |
| ``curve`` | the equation of state |
| ``plan`` | the calculations a crystal needs, in their order, each from the results of those before |
| ``work`` | doing those that the record files do not have yet |
| ``engine`` | GPAW and its settings |
| ``isolated_atoms`` | the elements alone in a box |
| ``collect`` | records of workers and of the first edition into the committed file |
| ``status`` | what there is and what is missing |
| ``edition`` | records into the table and the card of the second edition |
| ``publishing`` | the switch of the package to that edition |
| ``verify`` | computing records again |
| ``accuracy`` | convergence and finite differences, measured |
| ``cli`` | the commands |
| ``salt`` | how the salt of the split was found |

Everything computed is a record in the format of ``sources.mini.recordfile``: a plan is run again from its start whenever the
factory starts, records answer, and what has no record is computed.
"""
