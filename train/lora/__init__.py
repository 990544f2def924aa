"""LoRA adapters: trained, merged, compared by rank."""
