"""KSM: kernel-wise soft masks, and the rows between Piggyback and KSM in the paper's ablation."""
