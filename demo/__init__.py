"""The demo page: one file a tab, shared pieces beside them. No model code: everything about models is in `facellm`."""
