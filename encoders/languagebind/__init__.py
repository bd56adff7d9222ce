"""LanguageBind (Zhu et al., ICLR 2024): its encoders, preprocessing and released checkpoints."""
