"""Sentences that report and page share."""

from __future__ import annotations

SYNTHETIC = (
    "**The labels are those of neural networks, not of DFT.** The r2SCAN teacher was itself fine-tuned from the network that "
    "transfer starts from, so that transfer has a solution within reach that training from scratch has not: the gap between "
    "the two is an upper bound. Compare methods that share a start; for DFT labels use another data set."
)
READING = (
    "Errors are mean absolute errors on the **test** split; the validation split picks the checkpoint. Brackets hold the 95 % "
    "interval of the mean over seeds, which covers the choice of test materials and training seeds; ± is the standard "
    "deviation over seeds alone. With few seeds the latter is rough. Energies are compared as predicted, references included."
)
NEGATIVE = (
    "Error over that of training from scratch on the same data with as many epochs, test materials paired. Above "
    "1, transfer did harm; 1 minus it is the gain at equal data."
)
EQUAL_COMPUTE = (
    "From validation errors along the runs. Gain: part of the error of scratch that is removed after as many optimiser "
    "steps, pre-training not counted; ± over seeds. As good after: part of the steps of scratch after which its best "
    "error is reached, never if one seed does not get there."
)
FORGETTING = (
    "Change of the error on the GGA labels of the test split by training, ± over seeds. Positive is forgotten. Energies "
    "after elemental offsets fitted on validation frames."
)
POWER_LAWS = (
    "error = a·n^-b, fitted from {start:,} training frames on, the start declared before. Intervals from "
    "draws of test materials and seeds; the form of the law is taken as true."
)
VERSUS = (
    "Times the data that scratch needs for the same error, between the measured points and (in brackets, with interval) "
    "by the laws; a dash where the error is none that scratch has between its first and last point. Last, the training frames "
    "from which scratch is better by the laws."
)
